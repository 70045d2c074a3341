#include "mos/base/file.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <exception>
#include <utility>
#include <vector>

#include "mos/base/descriptor.h"
#include "mos/base/error.h"
#include "mos/base/place.h"

namespace mos {

namespace fs = std::filesystem;

namespace {

/// Of settings, scenes, captions, vocabularies and records: the longest known, an index of shards
/// or a vocabulary, have some MB. Devices (/dev/zero) have no end, and JSON takes many times its
/// text.
constexpr std::size_t kLongestText = std::size_t{16} << 20;

/// Of pictures, archives and the weights of small models.
constexpr std::size_t kLongestFile = std::size_t{1} << 30;

[[noreturn]] void cannot(const char* action, const fs::path& path, const std::string& reason) {
  throw Error(ErrorKind::kIo,
              fmt::format("cannot {} {}: {}; choose another place", action, path.string(), reason));
}

/// Of errno. A signal ends a wait (for who writes into a pipe) only where its handler asks for
/// that, and such a handler is there to end the work.
[[noreturn]] void cannot_read(const fs::path& path) {
  if (errno == EINTR) throw Error(ErrorKind::kCancelled, "stopped on request");
  throw Error(ErrorKind::kIo,
              fmt::format("cannot read {}: {}", path.string(), std::strerror(errno)));
}

/// Where a file called `path` goes. Throws for what nobody puts there meanwhile.
fs::path place_of_file(const fs::path& path) {
  auto place = behind_links(path);
  struct stat there {};
  if (::stat(place.c_str(), &there) != 0) {
    if (errno == ENOENT) return place;
    cannot("create", path, std::strerror(errno));  // too long a name, for instance
  }
  const bool is_device = S_ISCHR(there.st_mode) || S_ISBLK(there.st_mode);
  if (is_device) cannot("write", path, "it is no plain file");
  return place;
}

/// Why no file may replace what is at `place`, but for folders; empty where one may.
std::string hindrance(const fs::path& place) {
  struct stat there {};
  if (::stat(place.c_str(), &there) != 0 || S_ISDIR(there.st_mode)) return "";
  if (!S_ISREG(there.st_mode)) return "it is no plain file";
  if (is_mount_point(place)) return "a file is mounted there";
  return is_forbidden(place, W_OK) ? std::strerror(errno) : "";
}

/// Gives an open file the owner, where we may, and the permissions of the one at `former`.
void take_permissions(int descriptor, const fs::path& former) {
  struct stat there {};
  if (::stat(former.c_str(), &there) != 0 || !S_ISREG(there.st_mode)) return;
  const bool is_same_owner = ::fchown(descriptor, there.st_uid, there.st_gid) == 0;
  const auto kept = is_same_owner ? 07777U : 0777U;  // no set-user-ID of another user
  (void)::fchmod(descriptor, there.st_mode & kept);
}

std::string read_at_most(std::size_t most, const fs::path& path, std::string_view kind) {
  std::error_code code;
  if (fs::is_directory(path, code)) {
    throw Error(ErrorKind::kIo,
                fmt::format("cannot read {}: it is a folder, expected a file", path.string()));
  }
  const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (file.value < 0) cannot_read(path);
  std::string text;
  std::vector<char> part(std::size_t{1} << 16);
  for (;;) {
    const auto count = ::read(file.value, part.data(), part.size());
    if (count < 0) cannot_read(path);
    if (count == 0) return text;
    text.append(part.data(), static_cast<std::size_t>(count));
    if (text.size() > most) {
      throw Error(
          ErrorKind::kIo,
          fmt::format("cannot read {}: it has more than {} MB, expected {}; name another file",
                      path.string(), most >> 20, kind));
    }
  }
}

}  // namespace

std::string read_text_file(const fs::path& path) {
  return read_at_most(kLongestText, path, "a text of that at most");
}

std::string read_whole_file(const fs::path& path) {
  return read_at_most(kLongestFile, path, "a file of that at most");
}

void make_folders(const fs::path& folder) {
  std::error_code code;
  if (!folder.empty()) fs::create_directories(folder, code);
  if (code) cannot("create folder", folder, code.message());
}

bool may_replace(const fs::path& path, const FileKind& kind) {
  std::error_code code;
  if (!kind.matches || !fs::is_regular_file(path, code)) return true;
  if (fs::file_size(path, code) == 0 || code) return true;
  try {
    return kind.matches(path);
  } catch (const std::exception&) {  // a damaged one is not known for what it was
    return false;
  }
}

void check_file_target(const fs::path& path, Existing existing) {
  const auto place = place_of_file(path);
  if (const auto reason = hindrance(place); !reason.empty()) cannot("write", path, reason);
  std::error_code code;
  if (fs::is_directory(place, code)) cannot("write", path, "it is a folder, expected a file");
  if (existing == Existing::kReplace || !fs::exists(fs::symlink_status(place, code))) return;
  throw Error(ErrorKind::kUsage,
              fmt::format("cannot write {}: it exists already; add --overwrite (convert, fuse), "
                          "remove it or choose another place with --out",
                          path.string()));
}

AtomicFile::AtomicFile(fs::path path, FileRules rules)
    : path_(std::move(path)),
      place_(place_of_file(path_)),
      rules_(std::move(rules)),
      temporary_(place_, Temporary::Kind::kFile) {}

void AtomicFile::fail(const char* action) const { cannot(action, path_, std::strerror(errno)); }

void AtomicFile::write(const void* data, std::size_t bytes) {
  const auto* next = static_cast<const char*>(data);
  while (bytes > 0) {
    const auto written = ::write(temporary_.descriptor(), next, bytes);
    if (written < 0) {
      if (errno == EINTR) continue;
      fail("write");
    }
    next += written;
    bytes -= static_cast<std::size_t>(written);
  }
}

void AtomicFile::give_up(const std::string& reason) {
  const auto sentence = fmt::format("cannot write {}: {}", path_.string(), reason);
  if (rules_.unplaced == Unplaced::kDiscard) throw Error(ErrorKind::kIo, sentence);
  keep_beside(temporary_, place_, sentence);
}

void AtomicFile::commit() {
  if (::fsync(temporary_.descriptor()) != 0 && errno != EINVAL && errno != EROFS) fail("write");
  std::error_code code;
  if (rules_.existing == Existing::kRefuse) {
    code = rename_new(temporary_.path(), place_);
  } else {
    if (const auto reason = hindrance(place_); !reason.empty()) give_up(reason);
    if (!may_replace(place_, rules_.kind)) {
      give_up(fmt::format("there is a file now that is not {}", rules_.kind.name));
    }
    take_permissions(temporary_.descriptor(), place_);
    fs::rename(temporary_.path(), place_, code);
  }
  if (code == std::errc::file_exists) give_up("there is something now that was not there before");
  if (code == std::errc::is_a_directory) give_up("it is a folder, expected a file");
  if (code) give_up(code.message());
  temporary_.release();
  sync_folder(place_.parent_path());
}

void write_text_file(const fs::path& path, std::string_view text, const FileRules& rules) {
  AtomicFile file(path, rules);
  file.write(text);
  file.commit();
}

}  // namespace mos
