#include "mos/base/memory_limit.h"

#include <c10/core/CPUAllocator.h>
#include <fcntl.h>
#include <fmt/core.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <exception>
#include <new>
#include <string_view>

#include "mos/base/error.h"
#include "mos/base/runtime.h"
#include "mos/base/torch_compat.h"

namespace mos {

namespace {

/// What libraries take beside tensors: the buffers of a BLAS, generated code, stacks and heaps of
/// threads.
constexpr std::uint64_t kReserve = std::uint64_t{192} << 20;

/// What OpenBLAS takes for each core before main begins; it tries for ever where it gets none.
constexpr std::size_t kBlasBuffer = std::size_t{128} << 20;

/// Smaller tensors are not looked at: many of them fit into what is kept free.
constexpr std::size_t kLookedAt = std::size_t{64} << 10;

std::terminate_handler former_handler = nullptr;

/// Address space of this process in bytes; 0 if unknown. Allocates nothing.
std::uint64_t address_space() {
  char text[64] = {};
  const int descriptor = ::open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) return 0;
  const auto length = ::read(descriptor, text, sizeof(text) - 1);
  ::close(descriptor);
  if (length <= 0) return 0;
  return std::strtoull(text, nullptr, 10) * static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
}

class GuardedAllocator final : public compat::Allocator {
 public:
  explicit GuardedAllocator(std::uint64_t limit) : limit_(limit) {}

  c10::DeleterFnPtr raw_deleter() const override {
    return c10::GetDefaultCPUAllocator()->raw_deleter();
  }

 protected:
  c10::DataPtr take(std::size_t bytes) const override {
    if (bytes < kLookedAt) return c10::GetDefaultCPUAllocator()->allocate(bytes);
    // What malloc had free already does not count.
    auto memory = allocate_or_throw(bytes);
    if (address_space() + kReserve > limit_) {
      memory.clear();
      fail(bytes);
    }
    return memory;
  }

 private:
  c10::DataPtr allocate_or_throw(std::size_t bytes) const {
    if (address_space() + bytes > limit_) fail(bytes);  // spares LibTorch's message
    return c10::GetDefaultCPUAllocator()->allocate(bytes);
  }

  [[noreturn]] void fail(std::size_t bytes) const {
    throw Error(ErrorKind::kDevice,
                fmt::format("there is not enough memory for a tensor of {} bytes within the limit "
                            "of {} MiB on this process's address space (ulimit -v)",
                            bytes, limit_ >> 20));
  }

  std::uint64_t limit_;
};

[[noreturn]] void end_without_memory(std::string_view line) {
  (void)!::write(STDERR_FILENO, line.data(), line.size());
  ::_exit(exit_code(ErrorKind::kDevice));
}

[[noreturn]] void end_of_terminate() {
  try {
    if (const auto failure = std::current_exception()) std::rethrow_exception(failure);
  } catch (const std::bad_alloc&) {
    end_without_memory("mos: there is not enough memory for this\n");
  } catch (...) {
  }
  if (former_handler != nullptr) former_handler();
  std::abort();
}

}  // namespace

void guard_memory() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_AS, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) return;
  static GuardedAllocator allocator(limit.rlim_cur);  // LibTorch never lets go of it
  constexpr std::uint8_t kOverDefault = 1;
  c10::SetCPUAllocator(&allocator, kOverDefault);
}

void end_clearly_without_memory() {
  former_handler = std::set_terminate(end_of_terminate);
  rlimit limit{};
  if (::getrlimit(RLIMIT_AS, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) return;
  const auto wanted = kReserve + kBlasBuffer * static_cast<std::size_t>(usable_cores());
  void* room = ::mmap(nullptr, wanted, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (room == MAP_FAILED) {
    end_without_memory(
        "mos: there is not enough memory: the libraries of this program alone need more than the "
        "limit on its address space (ulimit -v)\n");
  }
  ::munmap(room, wanted);
}

}  // namespace mos
