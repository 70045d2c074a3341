#include "mos/studio/events.h"

#include <algorithm>
#include <utility>

namespace mos::studio {
namespace {

constexpr std::size_t kRemembered = 2000;

std::int64_t first_id() {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  // Thousandths of milliseconds: exact in JavaScript's numbers for 250 years.
  return std::chrono::duration_cast<std::chrono::microseconds>(now).count();
}

}  // namespace

EventHub::EventHub() : last_(first_id()), forgotten_(last_) {}

void EventHub::add(Event event) {
  event.id = ++last_;
  events_.push_back(std::move(event));
  if (events_.size() > kRemembered) {
    forgotten_ = events_.front().id;
    events_.pop_front();
  }
  changed_.notify_all();
}

void EventHub::tell(const std::string& name, const Json& data) {
  const std::lock_guard lock(mutex_);
  add({.name = name, .data = json_text(data)});
}

void EventHub::tell_progress(std::int64_t job, const Json& progress) {
  const std::lock_guard lock(mutex_);
  const auto old = std::ranges::find(events_, job, &Event::job);
  if (old != events_.end()) events_.erase(old);
  add({.name = "progress", .data = json_text({{"job", job}, {"progress", progress}}), .job = job});
}

EventHub::News EventHub::after(std::int64_t after, std::chrono::milliseconds patience) {
  std::unique_lock lock(mutex_);
  changed_.wait_for(lock, patience, [&] { return closed_ || last_ != after; });
  News news{.last = last_};
  // An id of the future is of a clock that was set back.
  news.missed = after < forgotten_ || after > last_;
  if (news.missed) return news;
  const auto first = std::ranges::upper_bound(events_, after, {}, &Event::id);
  news.events.assign(first, events_.end());
  return news;
}

std::int64_t EventHub::last() {
  const std::lock_guard lock(mutex_);
  return last_;
}

void EventHub::close() {
  const std::lock_guard lock(mutex_);
  closed_ = true;
  changed_.notify_all();
}

}  // namespace mos::studio
