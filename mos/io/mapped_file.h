#pragma once

#include <cstddef>
#include <filesystem>
#include <string_view>

namespace mos::io {

/// A whole file in memory, mapped privately: pages are read when touched, writes stay ours.
/// An empty file has no bytes. Throws mos::Error(kIo).
class MappedFile {
 public:
  explicit MappedFile(const std::filesystem::path& path);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  std::byte* data() const { return data_; }
  std::size_t size() const { return size_; }
  /// Gives the whole pages within these bytes back to the system; what was written to them is lost,
  /// and reading them again reads the file. So a file larger than memory can be walked through.
  void release(const std::byte* begin, std::size_t bytes) const;
  std::string_view text() const { return {reinterpret_cast<const char*>(data_), size_}; }

 private:
  std::byte* data_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace mos::io
