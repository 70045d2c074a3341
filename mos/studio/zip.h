#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace mos::studio {

/// Writes a ZIP of these files under their own names, stored as they are (pictures are small
/// already). Throws kIo, and kUsage for more than ZIP's plain form holds (65,535 files, 4 GB).
void write_zip(const std::filesystem::path& to, const std::vector<std::filesystem::path>& files);

}  // namespace mos::studio
