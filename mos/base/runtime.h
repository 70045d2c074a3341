#pragma once

#include <cstdint>
#include <string>

namespace mos {

/// Sets what LibTorch gets wrong by itself on a plain machine: threads = cores this process may
/// use, malloc keeps big blocks instead of giving every large activation back to the system, and a
/// warning when matrix products would run on the reference BLAS (about 36 times slower). A file
/// that grows over a limit (ulimit -f) becomes an error like a full disk, not the end; so does
/// memory under a limit (ulimit -v, memory_limit.h).
/// Call once at the start of main, before the first tensor.
void set_up_runtime();

/// More threads are refused: no machine is larger, and the OpenMP runtime ends the whole process
/// where the system gives no more.
inline constexpr std::int64_t kMostThreads = 1024;

/// Cores that this process may use, at least 1.
int usable_cores();

/// How many threads LibTorch's operations of this thread are divided among. Threads are started
/// here, not in the middle of the work, where one that cannot start would end the program.
/// Throws kUsage outside 1…kMostThreads, kDevice when the system lets us start fewer.
void set_threads(std::int64_t threads);

/// The same without starting them and without a check: for threads that compute with one alone, or
/// go back to what they had.
void use_threads(int threads);

/// Another number of threads for its lifetime; 0 changes nothing. Throws as set_threads does.
class ScopedThreads {
 public:
  explicit ScopedThreads(std::int64_t threads);
  ~ScopedThreads();
  ScopedThreads(const ScopedThreads&) = delete;
  ScopedThreads& operator=(const ScopedThreads&) = delete;

 private:
  int before_;
};

/// The library that answers sgemm_, e.g. "/usr/lib/x86_64-linux-gnu/openblas-openmp/libblas.so.3".
std::string blas_library();

/// Highest resident memory of this process so far, in bytes (Linux: VmHWM); 0 if unknown.
std::int64_t peak_memory();

/// The same of a part of the work: from construction on. The system has one such measure, which
/// the latest PeakMemory begins anew; where it may not, the peak is that of the process.
class PeakMemory {
 public:
  PeakMemory();
  std::int64_t bytes() const;
};

}  // namespace mos
