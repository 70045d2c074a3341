#pragma once

#include <filesystem>
#include <string>

namespace mos {

/// All bytes of a file that is no text (a picture, an archive, weights). What people write as text
/// has a closer bound, see read_text_file(). Throws kIo.
std::string read_whole_file(const std::filesystem::path& path);

}  // namespace mos
