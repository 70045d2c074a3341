#pragma once

#include <cstdint>
#include <string>

namespace mos {

/// Sets what LibTorch gets wrong by itself on a plain machine: threads = cores this process may
/// use, malloc keeps big blocks instead of giving every large activation back to the system, and a
/// warning when matrix products would run on the reference BLAS (about 36 times slower).
/// Call once at the start of main, before the first tensor.
void set_up_runtime();

/// More threads are refused: no machine is larger, and the OpenMP runtime ends the whole process
/// where the system gives no more.
inline constexpr std::int64_t kMostThreads = 1024;

/// Threads of LibTorch's operations from now on. Throws mos::Error(kUsage) outside 1…kMostThreads.
void set_threads(std::int64_t count);

/// The library that answers sgemm_, e.g. "/usr/lib/x86_64-linux-gnu/openblas-openmp/libblas.so.3".
std::string blas_library();

/// Highest resident memory of this process since the last reset, in bytes (Linux: VmHWM); 0 if
/// unknown.
std::int64_t peak_memory();

/// Makes the kernel forget the former peak. Where it may not, peak_memory() stays as it is.
void reset_peak_memory();

}  // namespace mos
