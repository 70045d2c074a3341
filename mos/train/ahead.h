#pragma once

#include <c10/core/Device.h>

#include <condition_variable>
#include <cstdint>
#include <exception>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include "mos/base/runtime.h"

namespace mos::train {

/// What the coming steps need from the processor, made in threads while another device computes:
/// drawing pictures and telling them in words takes longer than a GPU's step. Threads compute with
/// one thread each. One thread takes.
template <class T>
class Ahead {
 public:
  using Make = std::function<T(std::int64_t step)>;

  /// `make` is copied for each of the `threads`, so it may keep what it is not shared with others.
  Ahead(const Make& make, std::int64_t threads) : most_(2 * threads) {
    for (std::int64_t i = 0; i < threads; ++i) {
      threads_.emplace_back([this, make] { serve(make); });
    }
  }
  Ahead(const Ahead&) = delete;
  Ahead& operator=(const Ahead&) = delete;

  ~Ahead() {
    {
      const std::lock_guard lock(mutex_);
      ends_ = true;
    }
    changed_.notify_all();
    for (auto& thread : threads_) thread.join();
  }

  /// What `make` gives for `step`: steps are taken in order, from any first one on. Rethrows what
  /// it threw.
  T take(std::int64_t step) {
    std::unique_lock lock(mutex_);
    if (next_ < 0) next_ = step;
    taken_ = step;
    changed_.notify_all();
    changed_.wait(lock, [&] { return made_.count(step) > 0; });
    auto made = std::move(made_.extract(step).mapped());
    if (made.failure) std::rethrow_exception(made.failure);
    return std::move(*made.value);
  }

 private:
  struct Made {
    std::optional<T> value;
    std::exception_ptr failure;
  };

  void serve(const Make& make) {
    use_threads(1);
    std::unique_lock lock(mutex_);
    for (;;) {
      changed_.wait(lock, [&] { return ends_ || (next_ >= 0 && next_ < taken_ + most_); });
      if (ends_) return;
      const auto step = next_++;
      lock.unlock();
      auto made = attempt(make, step);
      lock.lock();
      made_.emplace(step, std::move(made));
      changed_.notify_all();
    }
  }

  static Made attempt(const Make& make, std::int64_t step) {
    try {
      return {make(step), nullptr};
    } catch (...) {
      return {std::nullopt, std::current_exception()};
    }
  }

  std::int64_t most_;  // steps that are made ahead of the one taken
  std::mutex mutex_;
  std::condition_variable changed_;
  std::map<std::int64_t, Made> made_;
  std::int64_t next_ = -1, taken_ = -1;
  bool ends_ = false;
  std::vector<std::thread> threads_;
};

/// What `make`, a member of Loss, gives for the steps, ahead of them by a copy of `loss` in a
/// thread of each core; null for a network on the CPU, which needs the cores itself.
template <class Loss, class Make>
auto made_ahead(const Loss& loss, Make make, c10::Device device) {
  using Result = std::invoke_result_t<Make, Loss&, std::int64_t>;
  if (device.is_cpu()) return std::shared_ptr<Ahead<Result>>();
  return std::make_shared<Ahead<Result>>(
      [own = loss, make](std::int64_t step) mutable { return std::invoke(make, own, step); },
      usable_cores());
}

}  // namespace mos::train
