#include "mos/base/directory.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <string_view>
#include <utility>

#include "mos/base/error.h"
#include "mos/base/place.h"

namespace mos {

namespace fs = std::filesystem;

namespace {

/// Who writes to the same place may replace it at any time, also between a look at what is there
/// and what is done about it. Then the look is taken again, so often at most.
constexpr int kLooks = 1000;

[[noreturn]] void refuse(const fs::path& folder, const std::string& reason) {
  throw Error(ErrorKind::kUsage, fmt::format("cannot replace the folder {}: {}; choose another "
                                             "place",
                                             folder.string(), reason));
}

/// Whether systems put a file of this name into folders that are looked at. Other hidden files,
/// which is_system_entry() passes over too, may be somebody's work.
bool is_of_file_browser(const std::string& name) {
  constexpr std::array<std::string_view, 3> kNames = {"Thumbs.db", "desktop.ini", ".DS_Store"};
  return std::find(kNames.begin(), kNames.end(), name) != kNames.end() || name.starts_with("._");
}

/// Without links, dots and a slash at its end.
fs::path place_of_folder(const fs::path& target) {
  const auto name = target.has_filename() ? target : target.parent_path();
  std::error_code code;
  auto place = fs::weakly_canonical(fs::absolute(behind_links(name)), code);
  return code ? name : place;
}

bool holds_working_folder(const fs::path& folder) {
  std::error_code code;
  const auto working = fs::current_path(code);
  return !code &&
         std::mismatch(folder.begin(), folder.end(), working.begin(), working.end()).first ==
             folder.end();
}

/// `folder` and what is missing above it, lowest first.
std::vector<fs::path> missing_folders(fs::path folder) {
  std::vector<fs::path> missing;
  std::error_code code;
  while (!folder.empty() && !fs::exists(folder, code)) {
    missing.push_back(folder);
    folder = folder.parent_path();
  }
  return missing;
}

void take_permissions(const fs::path& from, const fs::path& to) {
  std::error_code code;
  const auto status = fs::status(from, code);
  if (!code && fs::is_directory(status)) fs::permissions(to, status.permissions(), code);
}

bool belongs(const fs::path& inside, fs::file_type type, const FolderKind& kind) {
  if (type != fs::file_type::regular && type != fs::file_type::directory) return false;
  if (type == fs::file_type::regular && is_of_file_browser(inside.filename())) return true;
  return inside.has_parent_path() ? kind.deeper(inside, type)
                                  : kind.entries.contains(inside.string());
}

/// Throws for what is no part of `kind`; the code is of a folder that could not be read.
std::error_code look_through(const fs::path& folder, const FolderKind& kind) {
  std::error_code code;
  for (fs::recursive_directory_iterator entry(folder, code), end; !code && entry != end;
       entry.increment(code)) {
    if (!kind.deeper) entry.disable_recursion_pending();
    const auto inside = entry->path().lexically_relative(folder);
    const auto type = entry->symlink_status(code).type();
    if (code) break;
    if (type == fs::file_type::directory && is_mount_point(entry->path())) {
      refuse(folder, fmt::format("something is mounted in it, at {}", inside.string()));
    }
    if (belongs(inside, type, kind)) continue;
    refuse(folder, fmt::format("it holds {}, which is no part of {}", inside.string(), kind.name));
  }
  return code;
}

}  // namespace

void check_kind(const fs::path& folder, const FolderKind& kind) {
  std::error_code code;
  for (int look = 0; look < kLooks; ++look) {
    code = look_through(folder, kind);
    if (code != std::errc::no_such_file_or_directory) break;
  }
  if (code) refuse(folder, code.message());
  if (!fs::exists(folder / kind.marker, code)) {
    refuse(folder, fmt::format("it is not {}, as it lacks {}", kind.name, kind.marker));
  }
}

void check_folder_target(const fs::path& target, Existing existing,
                         const FolderCheck& may_replace) {
  const auto place = place_of_folder(target);
  std::error_code code;
  const auto status = fs::symlink_status(place, code);
  if (!fs::exists(status)) return;
  if (existing == Existing::kRefuse) {
    throw Error(ErrorKind::kUsage,
                fmt::format("cannot write folder {}: it exists already; add --overwrite "
                            "(convert, fuse), remove it or choose another place with --out",
                            target.string()));
  }
  if (!fs::is_directory(status)) refuse(target, "it is no folder");
  if (holds_working_folder(place)) refuse(target, "it is the working folder, or holds it");
  if (is_mount_point(place)) refuse(target, "something is mounted there");
  const bool is_empty = fs::is_empty(place, code);
  if (code) refuse(target, code.message());
  if (is_empty) return;
  if (!may_replace) refuse(target, "it is not empty");
  may_replace(place);
}

AtomicDirectory::AtomicDirectory(fs::path target, Existing existing, FolderCheck may_replace)
    : target_(place_of_folder(target)), existing_(existing), may_replace_(std::move(may_replace)) {
  made_ = missing_folders(target_.parent_path());
  make_folders(target_.parent_path());
  temporary_.emplace(target_, Temporary::Kind::kFolder);
  take_permissions(target_, temporary_->path());
}

AtomicDirectory::~AtomicDirectory() {
  temporary_.reset();
  std::error_code code;
  for (const auto& folder : made_) fs::remove(folder, code);  // those that are empty
}

std::error_code AtomicDirectory::put() {
  std::error_code code;
  if (existing_ == Existing::kRefuse || !fs::exists(target_, code)) {
    return rename_new(temporary_->path(), target_);
  }
  try {
    check_folder_target(target_, existing_, may_replace_);  // it may not be what it was before
  } catch (const Error& error) {
    keep_beside(*temporary_, target_, error.what());
  }
  return replace_folder(temporary_->path(), target_);
}

void AtomicDirectory::commit() {
  made_.clear();
  auto code = put();
  for (int look = 1; look < kLooks && existing_ == Existing::kReplace; ++look) {
    const bool was_overtaken = code == std::errc::file_exists ||  // or gone again
                               code == std::errc::no_such_file_or_directory;
    if (!was_overtaken) break;
    code = put();
  }
  if (code) {
    const auto reason = code == std::errc::file_exists
                            ? "there is something now that was not there before"
                            : code.message();
    keep_beside(*temporary_, target_,
                fmt::format("cannot write folder {}: {}", target_.string(), reason));
  }
  temporary_->release();
  sync_folder(target_.parent_path());
}

}  // namespace mos
