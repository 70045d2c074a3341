#pragma once

#include <filesystem>
#include <functional>
#include <optional>
#include <set>
#include <string>
#include <system_error>
#include <vector>

#include "mos/base/file.h"
#include "mos/base/temporary.h"

namespace mos {

/// What a folder of some kind holds, so that folders of this kind alone are replaced.
struct FolderKind {
  std::string name;               ///< "a model", for messages.
  std::string marker;             ///< An entry that every one has.
  std::set<std::string> entries;  ///< All that it may hold, apart from files of file browsers.
  /// Whether what lies deeper belongs to it; `inside` is the path from the folder on. Without it
  /// the caller looks into the folders in it.
  std::function<bool(const std::filesystem::path& inside, std::filesystem::file_type)> deeper = {};
};

/// Throws kUsage saying what is in `folder` that is not of its kind, or that its marker is missing.
/// Links belong to no kind: nothing here makes them.
void check_kind(const std::filesystem::path& folder, const FolderKind& kind);

/// Throws kUsage for a folder with something in it that must not be lost.
using FolderCheck = std::function<void(const std::filesystem::path&)>;

/// Throws kUsage unless a whole folder may be written at `target`: nothing is there, or it may be
/// replaced and is a folder that is empty or that `may_replace` lets go. The working folder, what
/// holds it, and places where something is mounted are never replaced.
void check_folder_target(const std::filesystem::path& target, Existing existing,
                         const FolderCheck& may_replace);

/// A folder that appears under its name only when complete, as AtomicFile is for files. What it
/// replaces is removed once the new one stands. The place may lie behind symbolic links, which
/// stay, as do the permissions of a folder that is replaced.
class AtomicDirectory {
 public:
  /// Throws kIo if it cannot be made. Missing folders above it are made, and go again without
  /// commit(), which finds what is in the way: who begins the work here checks the target before.
  explicit AtomicDirectory(std::filesystem::path target, Existing existing = Existing::kRefuse,
                           FolderCheck may_replace = {});
  ~AtomicDirectory();
  AtomicDirectory(const AtomicDirectory&) = delete;
  AtomicDirectory& operator=(const AtomicDirectory&) = delete;

  /// Where to write before commit().
  const std::filesystem::path& path() const { return temporary_->path(); }
  /// Throws kIo when it cannot take its place, for what check_folder_target throws for and where
  /// something appeared there meanwhile; it then is complete beside it, where the message says.
  void commit();

 private:
  std::error_code put();

  std::filesystem::path target_;
  Existing existing_;
  FolderCheck may_replace_;
  std::vector<std::filesystem::path> made_;  ///< Folders above it that were missing, lowest first.
  std::optional<Temporary> temporary_;
};

}  // namespace mos
