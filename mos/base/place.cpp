#include "mos/base/place.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "mos/base/error.h"
#include "mos/base/log.h"
#include "mos/base/temporary_name.h"

namespace mos {

namespace fs = std::filesystem;

namespace {

std::error_code last_error() { return {errno, std::generic_category()}; }

/// Whether a call failed because this file system has no such way of renaming.
bool is_unknown_here(int reason) {
  return reason == EINVAL || reason == ENOSYS || reason == ENOTSUP || reason == EXDEV;
}

/// `fox-2.safetensors`, `fox-3.safetensors`, … beside fox.safetensors.
fs::path numbered(const fs::path& place, int number) {
  return place.parent_path() /
         fmt::format("{}-{}{}", place.stem().string(), number, place.extension().string());
}

/// Where something was renamed to; empty, with the reason, if it could not be.
struct Renamed {
  fs::path place;
  std::error_code code;
};

/// Renames to the first of those names that is free.
Renamed rename_beside(const fs::path& from, const fs::path& place) {
  constexpr int kNames = 1000;
  for (int number = 2; number < kNames; ++number) {
    auto name = numbered(place, number);
    const auto code = rename_new(from, name);
    if (!code) return {std::move(name), {}};
    if (code != std::errc::file_exists) return {{}, code};
  }
  return {{}, std::make_error_code(std::errc::file_exists)};
}

void remove_former(const fs::path& former, const fs::path& place) {
  std::error_code code;
  fs::remove_all(former, code);
  if (!code) return;
  log::warn(fmt::format("{} is written, but what it replaced could not be removed from {}: {}",
                        place.string(), former.string(), code.message()));
}

}  // namespace

fs::path behind_links(const fs::path& path) {
  constexpr int kMostLinks = 40;  // as many as the system follows
  auto place = path;
  std::error_code code;
  for (int links = 0; fs::is_symlink(fs::symlink_status(place, code)); ++links) {
    if (links == kMostLinks) {
      throw Error(ErrorKind::kIo,
                  fmt::format("cannot follow {}: its symbolic links lead round in a "
                              "circle",
                              path.string()));
    }
    const auto target = fs::read_symlink(place, code);
    if (code) break;
    place = place.parent_path() / target;  // an absolute target stands for itself
  }
  return place;
}

bool is_mount_point(const fs::path& path) {
  struct statx inside {
  }, above{};
  if (::statx(AT_FDCWD, path.c_str(), 0, STATX_BASIC_STATS, &inside) != 0) return false;
  if ((inside.stx_attributes & STATX_ATTR_MOUNT_ROOT) != 0) return true;
  // Kernels before 5.8 do not say it, and the root of a chroot is an ordinary folder, but for being
  // its own parent. Files have no "..", and are then none.
  return ::statx(AT_FDCWD, (path / "..").c_str(), 0, STATX_BASIC_STATS, &above) == 0 &&
         (inside.stx_dev_major != above.stx_dev_major ||
          inside.stx_dev_minor != above.stx_dev_minor || inside.stx_ino == above.stx_ino);
}

bool is_forbidden(const fs::path& path, int way) {
  return ::faccessat(AT_FDCWD, path.c_str(), way, AT_EACCESS) != 0 &&
         (errno == EACCES || errno == EROFS);
}

std::error_code rename_new(const fs::path& from, const fs::path& to) {
  if (::renameat2(AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(), RENAME_NOREPLACE) == 0) return {};
  if (!is_unknown_here(errno)) return last_error();
  if (::link(from.c_str(), to.c_str()) == 0) {  // of files: it never replaces
    ::unlink(from.c_str());
    return {};
  }
  if (errno == EEXIST) return last_error();
  std::error_code code;
  if (fs::exists(fs::symlink_status(to, code))) return make_error_code(std::errc::file_exists);
  fs::rename(from, to, code);
  return code;
}

std::error_code replace_folder(const fs::path& made, const fs::path& former) {
  if (::renameat2(AT_FDCWD, made.c_str(), AT_FDCWD, former.c_str(), RENAME_EXCHANGE) == 0) {
    remove_former(made, former);  // they have each other's names now
    return {};
  }
  if (!is_unknown_here(errno)) return last_error();
  const auto aside = rename_beside(former, former.string() + "-old");
  if (aside.code) return aside.code;
  const auto code = rename_new(made, former);
  if (!code) {
    remove_former(aside.place, former);
    return {};
  }
  if (rename_new(aside.place, former)) {
    log::warn(fmt::format("the former folder {} is in {}", former.string(), aside.place.string()));
  }
  return code;
}

void keep_beside(Temporary& result, const fs::path& place, const std::string& reason) {
  // Its folder goes as a whole, and says so itself.
  if (lies_in_temporary(place)) throw Error(ErrorKind::kIo, reason);
  auto kept = rename_beside(result.path(), place).place;
  if (kept.empty()) {
    kept = result.path();
    mark_kept(kept);
  }
  result.release();
  sync_folder(place.parent_path());
  throw Error(ErrorKind::kIo,
              fmt::format("{}; the complete result is in {}", reason, kept.string()));
}

void sync_folder(const fs::path& folder) {
  const auto* name = folder.empty() ? "." : folder.c_str();
  const int descriptor = ::open(name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor < 0) return;
  ::fsync(descriptor);
  ::close(descriptor);
}

}  // namespace mos
