#include "mos/studio/task_threads.h"

#include <chrono>
#include <thread>
#include <utility>

namespace mos::studio {

TaskThreads::Taken TaskThreads::enqueue(std::function<void()> task) {
  const std::lock_guard lock(mutex_);
  waiting_.push_back(std::move(task));
  if (idle_ >= waiting_.size() || threads_ >= most_) {
    work_.notify_one();
  } else {
    ++threads_;
    std::thread([this] { work(); }).detach();
  }
  return static_cast<Taken>(true);
}

void TaskThreads::work() {
  constexpr std::chrono::seconds kIdle{5};
  std::unique_lock lock(mutex_);
  while (true) {
    ++idle_;
    const bool busy =
        work_.wait_for(lock, kIdle, [this] { return stopping_ || !waiting_.empty(); });
    --idle_;
    if (waiting_.empty()) {
      if (busy || !stopping_) break;  // nothing to do, or the end
      continue;
    }
    const auto task = std::move(waiting_.front());
    waiting_.pop_front();
    lock.unlock();
    task();
    lock.lock();
  }
  --threads_;
  ended_.notify_all();
}

void TaskThreads::shutdown() {
  std::unique_lock lock(mutex_);
  stopping_ = true;
  work_.notify_all();
  ended_.wait(lock, [this] { return threads_ == 0; });
}

}  // namespace mos::studio
