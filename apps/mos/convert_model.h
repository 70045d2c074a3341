#pragma once

#include <filesystem>
#include <string>

#include "flags.h"

namespace mos::app {

/// Help for the options of convert_model.
std::string convert_model_help();

/// `mos convert` for base models: `in` as a diffusers directory or a single file at `out`.
/// Throws kIo, kFormat, kMismatch for what is no model that we build.
int convert_model(Flags& flags, const std::filesystem::path& in, const std::filesystem::path& out);

}  // namespace mos::app
