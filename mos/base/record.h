#pragma once

#include <filesystem>

/// Records and reports: JSON files beside results that say how those came about.
namespace mos {

/// The key under which each of them has the version of the program.
inline constexpr const char* kProgramKey = "mixofshow";

/// Whether `path` is one of them. Never throws.
bool is_own_record(const std::filesystem::path& path);

}  // namespace mos
