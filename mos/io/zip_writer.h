#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "mos/base/file.h"

namespace mos::io {

/// Writes a zip archive of uncompressed entries, without times, so that the same entries are the
/// same bytes. Data begins at multiples of 64 bytes, padded as torch.save pads it.
class ZipWriter {
 public:
  explicit ZipWriter(AtomicFile& file) : file_(file) {}

  /// Throws mos::Error(kUsage) beyond 4 GiB, where another layout would be needed.
  void add(const std::string& name, std::string_view bytes);
  /// Writes the directory, after the last entry.
  void finish();

 private:
  struct Entry {
    std::string name;
    std::uint32_t crc, size, offset;
  };
  void put(std::string_view bytes);

  AtomicFile& file_;
  std::uint64_t position_ = 0;
  std::vector<Entry> entries_;
};

}  // namespace mos::io
