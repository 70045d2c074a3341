// What most of our sources include, compiled once (option MOS_PRECOMPILED_HEADERS): LibTorch's
// headers cost 6 to 8 seconds in every file otherwise.
#include <fmt/core.h>
#include <torch/nn/module.h>
#include <torch/nn/modules/container/modulelist.h>
#include <torch/nn/pimpl.h>
#include <torch/types.h>

#include <filesystem>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>
