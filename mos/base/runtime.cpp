#include "mos/base/runtime.h"

#include <ATen/Parallel.h>
#include <dlfcn.h>
#include <fmt/core.h>
#include <malloc.h>
#include <sched.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "mos/base/error.h"
#include "mos/base/log.h"
#include "mos/base/text.h"

namespace mos {

namespace {

int usable_cores() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof(set), &set) != 0) return 1;
  return std::max(1, CPU_COUNT(&set));
}

int wanted_threads() {
  const char* asked = std::getenv("OMP_NUM_THREADS");
  const auto threads = number_in<std::int64_t>(asked == nullptr ? "" : asked).value_or(0);
  return threads > 0 ? static_cast<int>(std::min(threads, kMostThreads)) : usable_cores();
}

}  // namespace

void set_threads(std::int64_t count) {
  if (count < 1 || count > kMostThreads) {
    throw Error(ErrorKind::kUsage,
                fmt::format("{} threads are not possible, expected 1 to {}", count, kMostThreads));
  }
  at::set_num_threads(static_cast<int>(count));
}

std::string blas_library() {
  void* symbol = dlsym(RTLD_DEFAULT, "sgemm_");
  Dl_info info{};
  if (symbol == nullptr || dladdr(symbol, &info) == 0) return "built into LibTorch";
  std::error_code code;
  const auto path = std::filesystem::canonical(info.dli_fname, code);
  return code ? info.dli_fname : path.string();
}

void set_up_runtime() {
  mallopt(M_MMAP_MAX, 0);
  mallopt(M_TRIM_THRESHOLD, -1);
  // One arena for each thread that computes: with a single one, two threads that train side by side
  // spend half of their time on its lock.
  mallopt(M_ARENA_MAX, wanted_threads() + 1);
  at::set_num_threads(wanted_threads());
  const auto blas = blas_library();
  if (blas.find("/blas/libblas") != std::string::npos) {
    log::warn("matrix products run on the reference BLAS (" + blas +
              "), about 36 times slower than OpenBLAS; install libopenblas0-openmp");
  }
}

std::int64_t peak_memory() {
  std::ifstream status("/proc/self/status");
  std::string word;
  while (status >> word) {
    std::int64_t kilobytes = 0;
    if (word == "VmHWM:" && status >> kilobytes) return kilobytes * 1024;
  }
  return 0;
}

void reset_peak_memory() { std::ofstream("/proc/self/clear_refs") << "5"; }

}  // namespace mos
