#pragma once

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "mos/base/error.h"

/// Hand-made file contents for the tests of mos/io.
namespace mos::io::test {

/// The `bytes` lowest bytes of `value`, lowest first; zeros behind the eighth.
inline std::string little_endian(std::uint64_t value, int bytes) {
  std::string result;
  for (int i = 0; i < bytes; ++i, value >>= 8) result += static_cast<char>(value & 0xff);
  return result;
}

/// Without the care (and the time) of mos::write_text_file.
inline void write_bytes(const std::filesystem::path& path, std::string_view bytes) {
  std::ofstream(path, std::ios::binary) << bytes;
}

/// A safetensors file of this header and `data_bytes` zeros.
inline std::string safetensors_bytes(std::string_view header, std::size_t data_bytes) {
  return little_endian(header.size(), 8) + std::string(header) + std::string(data_bytes, '\0');
}

/// A zip archive of uncompressed entries, without checksums.
inline std::string zip_bytes(const std::vector<std::pair<std::string, std::string>>& entries) {
  std::string files, directory;
  for (const auto& [name, data] : entries) {
    const auto offset = files.size();
    const auto sizes = little_endian(0, 4) + little_endian(data.size(), 4) +
                       little_endian(data.size(), 4) + little_endian(name.size(), 2);
    files += "PK\x03\x04" + little_endian(0, 10) + sizes + little_endian(0, 2) + name + data;
    directory += "PK\x01\x02" + little_endian(0, 12) + sizes + little_endian(0, 12) +
                 little_endian(offset, 4) + name;
  }
  return files + directory + "PK\x05\x06" + little_endian(0, 4) + little_endian(entries.size(), 2) +
         little_endian(entries.size(), 2) + little_endian(directory.size(), 4) +
         little_endian(files.size(), 4) + little_endian(0, 2);
}

/// The message of the mos::Error that `action` throws, checked to be of this kind; empty if none.
template <typename Action>
std::string error_of(ErrorKind kind, Action action) {
  try {
    action();
  } catch (const Error& error) {
    return error.kind() == kind ? error.what() : std::string("another kind: ") + error.what();
  }
  return "";
}

}  // namespace mos::io::test
