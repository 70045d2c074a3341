#pragma once

#include <filesystem>

namespace mos {

/// A new, empty file or folder beside the place where a result will stand, for the time while it
/// grows. Its name is `.NAME.mos-BOOT-RANDOM.part`, cut where NAME is too long for the system. It
/// is made exclusively, so nobody else's is ever taken, and locked until its object is gone or its
/// process has ended, however that came. Usable from any thread, each object from one at a time.
class Temporary {
 public:
  enum class Kind { kFile, kFolder };

  /// Throws kIo naming `place`.
  Temporary(const std::filesystem::path& place, Kind kind);
  /// Removes it with all that is in it, unless it was released.
  ~Temporary();
  Temporary(const Temporary&) = delete;
  Temporary& operator=(const Temporary&) = delete;

  const std::filesystem::path& path() const { return path_; }
  /// Of a file: open for writing. Of a folder: only its lock.
  int descriptor() const { return descriptor_; }
  /// It stands under another name now.
  void release() { released_ = true; }

 private:
  bool make(Kind kind);

  std::filesystem::path path_;
  int descriptor_ = -1;
  bool released_ = false;
};

/// Removes what processes that are gone have left in `folder` under the names of Temporary. Which
/// are gone is known by their locks; where those do not reach, on volumes that several machines
/// share, by a day without a change. Whatever cannot be removed stays, without an error.
void clear_leftovers(const std::filesystem::path& folder);

/// Where the system has its temporary files: TMPDIR, else /tmp.
/// Throws kIo when that is no folder.
std::filesystem::path temporary_folder();

}  // namespace mos
