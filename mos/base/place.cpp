#include "mos/base/place.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <stdio.h>
#include <unistd.h>

#include <cerrno>

#include "mos/base/error.h"
#include "mos/base/log.h"

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

/// Renames to the first of those names that is free, which it gives back; empty if none is.
fs::path rename_beside(const fs::path& from, const fs::path& place) {
  constexpr int kNames = 1000;
  for (int number = 2; number < kNames; ++number) {
    auto name = numbered(place, number);
    const auto code = rename_new(from, name);
    if (!code) return name;
    if (code != std::errc::file_exists) return {};
  }
  return {};
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
      throw Error(ErrorKind::kIo, fmt::format("cannot write {}: its symbolic links lead round in a "
                                              "circle",
                                              path.string()));
    }
    const auto target = fs::read_symlink(place, code);
    if (code) break;
    place = place.parent_path() / target;  // an absolute target stands for itself
  }
  return place;
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
  if (aside.empty()) return last_error();
  const auto code = rename_new(made, former);
  if (!code) {
    remove_former(aside, former);
    return {};
  }
  if (rename_new(aside, former)) {
    log::warn(fmt::format("the former folder {} is in {}", former.string(), aside.string()));
  }
  return code;
}

void keep_beside(Temporary& result, const fs::path& place, const std::string& reason) {
  auto kept = rename_beside(result.path(), place);
  if (kept.empty()) kept = result.path();
  result.release();
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
