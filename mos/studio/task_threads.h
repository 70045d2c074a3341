#pragma once

#include <httplib.h>

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <utility>

namespace mos::studio {

/// A thread for each connection, up to `most`; what comes then waits. Idle ones end: a server that
/// nobody asks has none.
class TaskThreads final : public httplib::TaskQueue {
 public:
  explicit TaskThreads(std::size_t most) : most_(most) {}

  /// Nothing in httplib 0.11, bool in 0.18: whether it was taken, which it always is.
  using Taken = decltype(std::declval<httplib::TaskQueue&>().enqueue({}));
  Taken enqueue(std::function<void()> task) override;
  /// Waits for all.
  void shutdown() override;

 private:
  void work();

  const std::size_t most_;
  std::mutex mutex_;
  std::condition_variable work_, ended_;
  std::deque<std::function<void()>> waiting_;
  std::size_t threads_ = 0, idle_ = 0;
  bool stopping_ = false;
};

}  // namespace mos::studio
