#pragma once

#include <filesystem>

#include "flags.h"

namespace mos::app {

/// Help for the options of convert_model.
extern const char* const kConvertModelHelp;

/// `mos convert` for base models: `in` as a diffusers directory or a single file at `out`.
/// Throws kIo, kFormat, kMismatch for what is no model that we build.
int convert_model(Flags& flags, const std::filesystem::path& in, const std::filesystem::path& out);

}  // namespace mos::app
