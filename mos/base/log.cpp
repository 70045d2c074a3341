#include "mos/base/log.h"

#include <fmt/core.h>

#include <cstdio>

namespace mos::log {

void info(std::string_view message) { fmt::print(stderr, "{}\n", message); }

void warn(std::string_view message) { fmt::print(stderr, "warning: {}\n", message); }

}  // namespace mos::log
