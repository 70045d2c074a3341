#include "mos/io/mapped_file.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstring>
#include <string>

#include "mos/base/descriptor.h"
#include "mos/base/error.h"

namespace mos::io {
namespace {

[[noreturn]] void fail(const std::filesystem::path& path, const std::string& reason) {
  throw Error(ErrorKind::kIo, fmt::format("cannot read {}: {}", path.string(), reason));
}

}  // namespace

MappedFile::MappedFile(const std::filesystem::path& path) {
  // Without O_NONBLOCK a named pipe would have us wait for who writes into it.
  const Descriptor descriptor(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (descriptor.value < 0) fail(path, std::strerror(errno));

  struct stat status {};
  if (::fstat(descriptor.value, &status) != 0) fail(path, std::strerror(errno));
  if (!S_ISREG(status.st_mode)) fail(path, "it is not a file");
  size_ = static_cast<std::size_t>(status.st_size);
  if (size_ == 0) return;

  // Writable and private: a stray in-place operation copies a page instead of crashing.
  void* mapped = ::mmap(nullptr, size_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_NORESERVE,
                        descriptor.value, 0);
  if (mapped == MAP_FAILED && errno == ENOMEM) {
    throw Error(
        ErrorKind::kDevice,
        fmt::format("there is not enough memory to read {}: it has {} bytes, which the limit "
                    "on this process's address space (ulimit -v) must have room for",
                    path.string(), size_));
  }
  if (mapped == MAP_FAILED) fail(path, std::strerror(errno));
  data_ = static_cast<std::byte*>(mapped);
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) ::munmap(data_, size_);
}

void MappedFile::release(const std::byte* begin, std::size_t bytes) const {
  const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  const auto offset = static_cast<std::size_t>(begin - data_);
  const auto first = (offset + page - 1) / page * page;
  const auto last = (offset + bytes) / page * page;  // neighbours share the pages at the ends
  if (last > first) ::madvise(data_ + first, last - first, MADV_DONTNEED);
}

}  // namespace mos::io
