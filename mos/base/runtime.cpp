#include "mos/base/runtime.h"

#include <ATen/Parallel.h>
#include <dlfcn.h>
#include <fmt/core.h>
#include <malloc.h>
#include <omp.h>
#include <sched.h>

#include <algorithm>
#include <atomic>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <future>
#include <thread>
#include <vector>

#include "mos/base/big_blocks.h"
#include "mos/base/error.h"
#include "mos/base/log.h"
#include "mos/base/memory_limit.h"
#include "mos/base/text.h"

namespace mos {

namespace {

/// The highest memory before it was last measured anew.
std::atomic<std::int64_t> former_peak = 0;

/// Resident memory, the highest since the kernel was made to forget it.
std::int64_t recent_peak() {
  std::ifstream status("/proc/self/status");
  std::string word;
  while (status >> word) {
    std::int64_t kilobytes = 0;
    if (word == "VmHWM:" && status >> kilobytes) return kilobytes * 1024;
  }
  return 0;
}

/// Starts as many threads at once as will be wanted, and ends them.
void try_threads(std::int64_t count) {
  std::promise<void> end;
  const auto wait = end.get_future().share();
  std::vector<std::thread> threads;
  std::string reason;
  try {
    for (std::int64_t i = 0; i < count; ++i) threads.emplace_back([wait] { wait.wait(); });
  } catch (const std::exception& error) {
    reason = error.what();
  }
  end.set_value();
  for (auto& thread : threads) thread.join();
  if (reason.empty()) return;
  throw Error(ErrorKind::kDevice,
              fmt::format("cannot start {} threads, {} is as far as it went: {}; use fewer, for "
                          "instance with OMP_NUM_THREADS",
                          count, threads.size(), reason));
}

int wanted_threads() {
  const char* asked = std::getenv("OMP_NUM_THREADS");
  const auto threads = number_in<std::int64_t>(asked == nullptr ? "" : asked).value_or(0);
  return threads > 0 ? static_cast<int>(std::min(threads, kMostThreads)) : usable_cores();
}

}  // namespace

std::string blas_library() {
  void* symbol = dlsym(RTLD_DEFAULT, "sgemm_");
  Dl_info info{};
  if (symbol == nullptr || dladdr(symbol, &info) == 0) return "built into LibTorch";
  std::error_code code;
  const auto path = std::filesystem::canonical(info.dli_fname, code);
  return code ? info.dli_fname : path.string();
}

void set_up_runtime() {
  keep_freed_memory();
  // One arena for each thread that computes: with a single one, two threads that train side by side
  // spend half of their time on its lock.
  mallopt(M_ARENA_MAX, wanted_threads() + 1);
  guard_memory();
  set_threads(wanted_threads());
  std::signal(SIGXFSZ, SIG_IGN);
  const auto blas = blas_library();
  if (blas.find("/blas/libblas") != std::string::npos) {
    log::warn("matrix products run on the reference BLAS (" + blas +
              "), about 36 times slower than OpenBLAS; install libopenblas0-openmp");
  }
}

// Not by at::set_num_threads: that starts a second set of threads, which nobody here uses, again
// for each thread that computes, and waits for ever for one that cannot start.
void use_threads(int threads) {
  // In a new thread LibTorch sets a number of its own before it first computes: once in its
  // library, and once in the code that its headers bring into this one.
  at::get_num_threads();
  at::parallel_for(0, 1, 1, [](std::int64_t, std::int64_t) {});
  omp_set_num_threads(threads);
}

int usable_cores() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof(set), &set) != 0) return 1;
  return std::max(1, CPU_COUNT(&set));
}

void set_threads(std::int64_t threads) {
  if (threads < 1 || threads > kMostThreads) {
    throw Error(ErrorKind::kUsage, fmt::format("the number of threads is {}, expected 1 to {}",
                                               threads, kMostThreads));
  }
  if (threads > 1) try_threads(threads - 1);
  use_threads(static_cast<int>(threads));
#pragma omp parallel  // OpenMP starts them now, and ends the program where it cannot
  {}
}

ScopedThreads::ScopedThreads(std::int64_t threads) : before_(at::get_num_threads()) {
  if (threads > 0) set_threads(threads);
}

ScopedThreads::~ScopedThreads() { use_threads(before_); }

// The system counts pages in batches for each core, so it may say less the second time.
std::int64_t peak_memory() {
  const auto peak = std::max(former_peak.load(), recent_peak());
  former_peak = peak;
  return peak;
}

PeakMemory::PeakMemory() {
  former_peak = peak_memory();
  std::ofstream("/proc/self/clear_refs") << "5";
}

std::int64_t PeakMemory::bytes() const { return recent_peak(); }

}  // namespace mos
