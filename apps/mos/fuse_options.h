#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include "flags.h"
#include "mos/fuse/options.h"

/// The options of `mos fuse` that depend on the method.
namespace mos::app {

/// From the file `config`, if any, and from flags, which overrule it. Throws mos::Error(kUsage) for
/// an option that the chosen method does not take, naming the methods that do.
fuse::FuseOptions take_fuse_options(Flags& flags,
                                    const std::optional<std::filesystem::path>& config);

/// Their help: every method with its options.
std::string fuse_options_help();

}  // namespace mos::app
