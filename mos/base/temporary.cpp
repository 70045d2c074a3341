#include "mos/base/temporary.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <string>

#include "mos/base/error.h"
#include "mos/base/temporary_name.h"

namespace mos {

namespace fs = std::filesystem;

namespace {

constexpr std::chrono::hours kForeignAge(24);

/// Whether `path` still leads to what `descriptor` is open on.
bool leads_to(const fs::path& path, int descriptor) {
  struct stat by_path {
  }, by_descriptor{};
  return ::lstat(path.c_str(), &by_path) == 0 && ::fstat(descriptor, &by_descriptor) == 0 &&
         by_path.st_ino == by_descriptor.st_ino && by_path.st_dev == by_descriptor.st_dev;
}

bool is_older_than(const fs::path& path, std::chrono::hours age) {
  std::error_code code;
  const auto changed = fs::last_write_time(path, code);
  return !code && fs::file_time_type::clock::now() - changed > age;
}

/// Removes a leftover whose lock nobody holds.
void remove_unlocked(const fs::path& path, bool is_folder) {
  const int flags = (is_folder ? O_RDONLY | O_DIRECTORY : O_RDWR) | O_NOFOLLOW | O_CLOEXEC;
  const int descriptor = ::open(path.c_str(), flags);
  if (descriptor < 0) return;
  std::error_code ignored;
  if (::flock(descriptor, LOCK_EX | LOCK_NB) == 0 && leads_to(path, descriptor) &&
      !is_kept(descriptor)) {
    fs::remove_all(path, ignored);
  }
  ::close(descriptor);
}

}  // namespace

Temporary::Temporary(const fs::path& place, Kind kind) {
  constexpr int kAttempts =
      100;  // names of others are met by chance, once in four thousand million
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    path_ = place.parent_path() / temporary_name(place);
    if (make(kind)) return;
    if (errno != EEXIST) break;
  }
  throw Error(ErrorKind::kIo, fmt::format("cannot create {}{}: {}; choose another place",
                                          kind == Kind::kFolder ? "folder " : "", place.string(),
                                          std::strerror(errno)));
}

/// One attempt. Without success errno says why, EEXIST if another name may do.
bool Temporary::make(Kind kind) {
  if (kind == Kind::kFolder) {
    if (::mkdir(path_.c_str(), 0777) != 0) return false;
    descriptor_ = ::open(path_.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (descriptor_ < 0) {
      const int reason = errno;
      ::rmdir(path_.c_str());
      errno = reason;
    }
  } else {
    descriptor_ = ::open(path_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0666);
  }
  if (descriptor_ < 0) return false;
  // Where there are no locks, nothing is cleared either. Who clears may have been quicker.
  const bool is_free = ::flock(descriptor_, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK;
  if (is_free && leads_to(path_, descriptor_)) return true;
  ::close(descriptor_);
  descriptor_ = -1;
  errno = EEXIST;
  return false;
}

Temporary::~Temporary() {
  std::error_code ignored;
  if (!released_) fs::remove_all(path_, ignored);
  ::close(descriptor_);
}

void clear_leftovers(const fs::path& folder) {
  const auto here = boot_id();
  std::error_code code;
  for (fs::directory_iterator entry(folder.empty() ? "." : folder, code), end;
       !code && entry != end; entry.increment(code)) {
    const auto name = entry->path().filename().string();
    const auto boot = boot_in(name);
    if (boot.empty()) continue;
    if ((boot == here) || is_older_than(entry->path(), kForeignAge)) {
      std::error_code ignored;
      remove_unlocked(entry->path(), fs::is_directory(entry->symlink_status(ignored)));
    }
  }
}

fs::path temporary_folder() {
  std::string folder = "/tmp", named = folder;
  // As the library looks, but an empty one is none, as to mktemp.
  for (const char* variable : {"TMPDIR", "TMP", "TEMP", "TEMPDIR"}) {
    const char* value = std::getenv(variable);
    if (value == nullptr || *value == '\0') continue;
    folder = value;
    named = fmt::format("{}={}", variable, value);
    break;
  }
  std::error_code code;
  if (fs::is_directory(folder, code)) return folder;
  throw Error(ErrorKind::kIo,
              fmt::format("cannot keep temporary files in {}: it is no folder; set TMPDIR to one "
                          "with room",
                          named));
}

}  // namespace mos
