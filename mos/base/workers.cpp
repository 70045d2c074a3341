#include "mos/base/workers.h"

#include <ATen/Parallel.h>
#include <fmt/core.h>
#include <omp.h>

#include <exception>
#include <utility>

#include "mos/base/error.h"

namespace mos {

Workers::Workers(std::size_t count)
    : start_(static_cast<std::ptrdiff_t>(count) + 1),
      done_(static_cast<std::ptrdiff_t>(count) + 1),
      failures_(count) {
  try {
    for (std::size_t i = 0; i < count; ++i) threads_.emplace_back([this, i] { serve(i); });
  } catch (const std::exception& error) {
    const auto started = threads_.size();
    for (auto missing = count - started; missing > 0; --missing) start_.arrive_and_drop();
    stop();
    throw Error(ErrorKind::kDevice,
                fmt::format("cannot start {} threads, {} is as far as it went: {}; use fewer",
                            count, started, error.what()));
  }
}

Workers::~Workers() { stop(); }

void Workers::stop() {
  work_ = nullptr;
  start_.arrive_and_wait();
  for (auto& thread : threads_) thread.join();
}

void Workers::run(const std::function<void(std::size_t)>& work) {
  work_ = &work;
  start_.arrive_and_wait();
  done_.arrive_and_wait();
  for (auto& failure : failures_) {
    if (failure) std::rethrow_exception(std::exchange(failure, nullptr));
  }
}

void Workers::serve(std::size_t index) {
  try {
    at::get_num_threads();   // sets a new thread's number to the process's, once
    omp_set_num_threads(1);  // of this thread alone
  } catch (...) {
    failures_[index] = std::current_exception();  // LibTorch needs memory for that
  }
  for (;;) {
    start_.arrive_and_wait();
    if (work_ == nullptr) return;
    try {
      if (!failures_[index]) (*work_)(index);
    } catch (...) {
      failures_[index] = std::current_exception();
    }
    done_.arrive_and_wait();
  }
}

}  // namespace mos
