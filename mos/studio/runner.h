#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "mos/base/error.h"
#include "mos/studio/claims.h"
#include "mos/studio/events.h"
#include "mos/studio/job_store.h"
#include "mos/studio/job_talk.h"
#include "mos/studio/studio_folder.h"

/// The queue: one job at a time on each device, each a process of its own that outlives this one.
/// What becomes of it is in its folder, where it is read again after a start.
namespace mos::studio {

struct RunnerParts {
  std::filesystem::path mos;
  const StudioFolder& folder;
  JobStore& store;
  EventHub& events;
  /// Called when a job has ended, before that is told.
  std::function<void(const Job&)> ended;
};

class Runner {
 public:
  /// Finds again what was running when the last server ended, and begins to work.
  explicit Runner(RunnerParts parts);
  /// Running jobs go on.
  ~Runner();
  /// Starts nothing any more and lets go whoever waits for a job.
  void stop();
  Runner(const Runner&) = delete;
  Runner& operator=(const Runner&) = delete;

  /// Throws Refused(409) where another job will write what this one does.
  Job add(JobOrder order);
  /// What `order` must not write, since other jobs will.
  Claims claims(const JobOrder& order);
  /// Where the concept file of a tuning goes that does not say.
  std::string place_to_tune(const JobOrder& order);

  // Each throws Refused: 404 for an id that there is not, 409 where its state does not allow it.
  Job find(std::int64_t id);
  Job cancel(std::int64_t id);
  Job pause(std::int64_t id);
  Job resume(std::int64_t id);
  /// A running tuning writes its checkpoint, or its sample pictures too, at its next step.
  Job save(std::int64_t id);
  Job sample(std::int64_t id);
  Job move(std::int64_t id, std::int64_t position);
  void remove(std::int64_t id);

  std::vector<Job> list(const JobFilter& filter);
  /// Running ones, then queued ones in their order.
  std::vector<Job> queue();
  /// As the API has it, with its position.
  Json shown(const Job& job);

  /// Waits until the job is over or is none any more; false when the server stops or `patience`
  /// ends.
  bool wait_until_over(std::int64_t id, std::chrono::seconds patience);

  /// What was found at the start, a sentence each, until somebody has read it.
  std::vector<std::string> notices();
  void forget_notices();

 private:
  struct Running {
    Job job;
    JobTalk talk;
    std::chrono::steady_clock::time_point told;  ///< When its progress was, the last time.
  };

  void work();
  void take_up_again();
  bool start_next();
  void start(Job job);
  void fail(Job job, const Error& error);
  /// Whether it has ended.
  bool follow(Running& running);
  void hear(Running& running);
  void settle(Running& running);
  void settle_without_end(Running& running);
  void keep_results(Running& running);
  std::string place_of_tuning(const JobOrder& order);
  void refuse_taken_up_late(const Job& job);
  Job required(std::int64_t id, const std::string& action);
  Job wish(std::int64_t id, const char* action, int signal);
  void changed(const Job& job);
  void tell_queue();

  RunnerParts parts_;
  std::mutex mutex_;
  std::condition_variable wake_, over_;
  std::map<std::int64_t, Running> running_;
  std::vector<std::string> notices_;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace mos::studio
