#include "mos/base/workers.h"

#include <fmt/core.h>

#include <exception>
#include <utility>

#include "mos/base/error.h"
#include "mos/base/runtime.h"

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
  bool alone = false;
  for (;;) {
    start_.arrive_and_wait();
    if (work_ == nullptr) return;
    try {
      // Not before all threads stand: it takes memory, and where that has just ended one thread
      // too early, OpenMP would end the program.
      if (!std::exchange(alone, true)) use_threads(1);
      (*work_)(index);
    } catch (...) {
      failures_[index] = std::current_exception();
    }
    done_.arrive_and_wait();
  }
}

}  // namespace mos
