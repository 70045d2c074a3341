#pragma once

#include <cstddef>
#include <filesystem>
#include <string>
#include <string_view>

namespace mos {

/// Whole file as bytes. Throws kIo.
std::string read_text_file(const std::filesystem::path& path);

/// A file that appears under its name only when complete: bytes go to a temporary name in the same
/// folder and commit() renames it. Without commit the destructor removes the temporary file.
/// Every member throws kIo with the reason of the system (unwritable folder, full disk).
class AtomicFile {
 public:
  explicit AtomicFile(std::filesystem::path path);
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  void write(const void* data, std::size_t bytes);
  void write(std::string_view text) { write(text.data(), text.size()); }
  void commit();

 private:
  [[noreturn]] void fail(const char* action) const;

  std::filesystem::path path_;
  std::filesystem::path temporary_;
  int descriptor_ = -1;
};

/// Writes `text` under `path` in one step. Throws kIo.
void write_text_file(const std::filesystem::path& path, std::string_view text);

/// What to do when an output folder is there already.
enum class Existing { kRefuse, kReplace };

/// A folder that appears under its name only when complete, as AtomicFile is for files.
/// Throws kUsage if `target` exists and is to be refused, kIo if it cannot be made.
class AtomicDirectory {
 public:
  explicit AtomicDirectory(std::filesystem::path target, Existing existing = Existing::kRefuse);
  ~AtomicDirectory();
  AtomicDirectory(const AtomicDirectory&) = delete;
  AtomicDirectory& operator=(const AtomicDirectory&) = delete;

  /// Where to write before commit().
  const std::filesystem::path& path() const { return temporary_; }
  void commit();

 private:
  std::filesystem::path target_;
  std::filesystem::path temporary_;
  bool committed_ = false;
};

}  // namespace mos
