#pragma once

#include <filesystem>

#include "flags.h"

namespace mos::app {

/// `mos sample --rerun`: paints `picture` once more from its own record, with files from the places
/// that the flags name when they have moved. Without --out the new file takes the place of the old
/// one, which has the same bytes. Returns the exit code.
/// Throws kMismatch when files are others than the record's, or when the picture comes out
/// otherwise and --out names no place for it.
int rerun(Flags& flags, const std::filesystem::path& picture);

}  // namespace mos::app
