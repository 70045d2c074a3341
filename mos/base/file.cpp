#include "mos/base/file.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <utility>
#include <vector>

#include "mos/base/error.h"

namespace mos {

namespace fs = std::filesystem;

namespace {

/// Of a file that is read whole: no settings, caption, vocabulary or picture of ours is near it,
/// and devices (/dev/zero) have no end.
constexpr std::size_t kLongestText = std::size_t{1} << 30;

fs::path temporary_beside(const fs::path& path) {
  const auto name = fmt::format(".{}.{}.part", path.filename().string(), ::getpid());
  return path.parent_path() / name;
}

}  // namespace

std::string read_text_file(const fs::path& path) {
  if (fs::is_directory(path)) {
    throw Error(ErrorKind::kIo,
                fmt::format("cannot read {}: it is a folder, expected a file", path.string()));
  }
  std::ifstream stream(path, std::ios::binary);
  if (!stream) {
    throw Error(ErrorKind::kIo,
                fmt::format("cannot read {}: {}", path.string(), std::strerror(errno)));
  }
  std::string text;
  std::vector<char> part(std::size_t{1} << 16);
  while (stream.read(part.data(), static_cast<std::streamsize>(part.size())) ||
         stream.gcount() > 0) {
    text.append(part.data(), static_cast<std::size_t>(stream.gcount()));
    if (text.size() > kLongestText) {
      throw Error(ErrorKind::kIo, fmt::format("cannot read {}: it is longer than {} bytes",
                                              path.string(), kLongestText));
    }
  }
  return text;
}

AtomicFile::AtomicFile(fs::path path)
    : path_(std::move(path)), temporary_(temporary_beside(path_)) {
  descriptor_ = ::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (descriptor_ < 0) fail("create");
}

AtomicFile::~AtomicFile() {
  if (descriptor_ < 0) return;
  ::close(descriptor_);
  ::unlink(temporary_.c_str());
}

void AtomicFile::fail(const char* action) const {
  throw Error(ErrorKind::kIo, fmt::format("cannot {} {}: {}; choose another place with --out",
                                          action, path_.string(), std::strerror(errno)));
}

void AtomicFile::write(const void* data, std::size_t bytes) {
  const auto* next = static_cast<const char*>(data);
  while (bytes > 0) {
    const auto written = ::write(descriptor_, next, bytes);
    if (written < 0) {
      if (errno == EINTR) continue;
      fail("write");
    }
    next += written;
    bytes -= static_cast<std::size_t>(written);
  }
}

void AtomicFile::commit() {
  if (::fsync(descriptor_) != 0 && errno != EINVAL && errno != EROFS) fail("write");
  if (::close(std::exchange(descriptor_, -1)) != 0 ||
      ::rename(temporary_.c_str(), path_.c_str()) != 0) {
    const int reason = errno;
    ::unlink(temporary_.c_str());
    errno = reason;
    fail("write");
  }
}

void write_text_file(const fs::path& path, std::string_view text) {
  AtomicFile file(path);
  file.write(text);
  file.commit();
}

AtomicDirectory::AtomicDirectory(fs::path target, Existing existing)
    : target_(target.has_filename() ? std::move(target) : target.parent_path()),
      temporary_(temporary_beside(target_)) {
  if (existing == Existing::kRefuse && fs::exists(target_)) {
    throw Error(ErrorKind::kUsage,
                fmt::format("cannot write folder {}: it exists already; remove it or choose "
                            "another place with --out",
                            target_.string()));
  }
  std::error_code code;
  fs::remove_all(temporary_, code);
  fs::create_directories(temporary_, code);
  if (code) {
    throw Error(ErrorKind::kIo, fmt::format("cannot create folder {}: {}; choose another place "
                                            "with --out",
                                            target_.string(), code.message()));
  }
}

AtomicDirectory::~AtomicDirectory() {
  std::error_code ignored;
  if (!committed_) fs::remove_all(temporary_, ignored);
}

void AtomicDirectory::commit() {
  std::error_code code;
  if (fs::exists(target_)) fs::remove_all(target_, code);
  if (!code) fs::rename(temporary_, target_, code);
  if (code) {
    throw Error(ErrorKind::kIo,
                fmt::format("cannot write folder {}: {}", target_.string(), code.message()));
  }
  committed_ = true;
}

}  // namespace mos
