#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <mutex>
#include <string>
#include <vector>

#include "mos/base/json.h"

/// What happened, for all who listen: streams and polling read the same short memory by id.
namespace mos::studio {

struct Event {
  std::int64_t id = 0;
  std::string name;
  std::string data;      ///< JSON in a line.
  std::int64_t job = 0;  ///< Of progress; else 0.
};

class EventHub {
 public:
  /// Ids go on rising when the server starts again: they begin with the time.
  EventHub();

  void tell(const std::string& name, const Json& data);
  /// Of which only the last of each job is remembered.
  void tell_progress(std::int64_t job, const Json& progress);

  struct News {
    std::vector<Event> events;
    std::int64_t last = 0;  ///< To ask with next time.
    bool missed = false;    ///< Events between were forgotten.
  };
  /// What came after `after`; waits up to `patience` while there is nothing.
  News after(std::int64_t after, std::chrono::milliseconds patience);
  std::int64_t last();
  /// Nobody waits any more.
  void close();

 private:
  void add(Event event);

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Event> events_;
  std::int64_t last_;
  std::int64_t forgotten_;  ///< The latest id that is not remembered.
  bool closed_ = false;
};

}  // namespace mos::studio
