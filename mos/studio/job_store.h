#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "mos/studio/database.h"
#include "mos/studio/job.h"

/// Jobs in the database. Every change is on disk when its function returns.
namespace mos::studio {

struct JobFilter {
  std::optional<JobState> state;
  std::string kind;         ///< Empty: all.
  std::int64_t before = 0;  ///< Only ids below; 0: all.
  std::int64_t limit = 100;
};

class JobStore {
 public:
  explicit JobStore(Database& database);

  /// Ids of new jobs are above `id` from now on.
  void begin_above(std::int64_t id);
  /// A queued job at the end of the queue.
  Job add(const JobOrder& order);
  std::optional<Job> find(std::int64_t id);
  /// Writes all of it but its order.
  void save(const Job& job);
  void remove(std::int64_t id);

  /// The newest first.
  std::vector<Job> list(const JobFilter& filter);
  /// The queued ones in their order.
  std::vector<Job> queued();
  std::vector<Job> running();
  /// These, those that are paused and those that were interrupted.
  std::vector<Job> unfinished();
  /// Puts a job behind all that are queued.
  void put_last(Job& job);
  /// Gives a queued job the place `position` among those that are queued.
  void move(std::int64_t id, std::int64_t position);

 private:
  std::vector<Job> in_order(JobState state);

  Database& database_;
};

}  // namespace mos::studio
