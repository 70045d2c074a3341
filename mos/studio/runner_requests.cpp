#include <fmt/core.h>

#include <algorithm>
#include <csignal>
#include <filesystem>
#include <system_error>
#include <utility>

#include "mos/base/text.h"
#include "mos/studio/http.h"
#include "mos/studio/job_order.h"
#include "mos/studio/runner.h"

/// What is asked of the queue; runner.cpp has what it does by itself.
namespace mos::studio {

Job Runner::required(std::int64_t id, const std::string& action) {
  const auto job = parts_.store.find(id);
  if (!job) throw Refused(404, fmt::format("there is no job {}", id));
  const auto possible = possible_actions(*job);
  if (!action.empty() && std::ranges::find(possible, action) == possible.end()) {
    throw Refused(409, fmt::format("job {} is {}; what can be done with it: {}", id,
                                   choice_name(job->state), listed(possible)));
  }
  const auto running = running_.find(id);
  return running == running_.end() ? *job : running->second.job;
}

void Runner::changed(const Job& job) {
  parts_.events.tell("job", to_json(job, command_text(job)));
  tell_queue();
}

void Runner::tell_queue() {
  Json ids = Json::array();
  for (const auto& job : parts_.store.running()) ids.push_back(job.id);
  for (const auto& job : parts_.store.queued()) ids.push_back(job.id);
  parts_.events.tell("queue", {{"queue", ids}});
}

Claims Runner::claims(const JobOrder& order) {
  const std::lock_guard lock(mutex_);
  return claims_on(order, parts_.store.unfinished());
}

std::string Runner::place_to_tune(const JobOrder& order) {
  const std::lock_guard lock(mutex_);
  return place_of_tuning(order);
}

std::string Runner::place_of_tuning(const JobOrder& order) {
  constexpr std::int64_t kMost = 1000;  // older ones have been gone on with, or are forgotten
  return studio::place_to_tune(order, parts_.folder, claims_on(order, parts_.store.unfinished()),
                               parts_.store.list({.kind = "tune", .limit = kMost}));
}

Job Runner::add(JobOrder order) {
  const std::lock_guard lock(mutex_);
  // Somebody who asked at the same time may have been given the same name.
  if (order.has_own_name) order.options["out"] = place_of_tuning(order);
  if (!order.dry_run) refuse_claimed(claims_on(order, parts_.store.unfinished()), order);
  const auto job = parts_.store.add(order);
  try {
    write_inputs(job, parts_.folder);
  } catch (const Error&) {  // heard by who asks, not by nobody when its turn comes
    parts_.store.remove(job.id);
    throw;
  }
  changed(job);
  wake_.notify_all();
  return job;
}

Job Runner::find(std::int64_t id) {
  const std::lock_guard lock(mutex_);
  return required(id, "");
}

Job Runner::cancel(std::int64_t id) {
  const std::lock_guard lock(mutex_);
  auto job = required(id, "cancel");
  const auto running = running_.find(id);
  if (running == running_.end()) {
    job.state = JobState::kCancelled;
    job.ended = timestamp();
    parts_.store.save(job);
    changed(job);
    over_.notify_all();
    return job;
  }
  auto& live = running->second.job;
  const bool again = live.intent == Intent::kCancel;
  live.intent = Intent::kCancel;
  parts_.store.save(live);
  again ? end_at_once(live.minder) : ask_to_end(live.minder);
  return live;
}

Job Runner::pause(std::int64_t id) {
  const std::lock_guard lock(mutex_);
  (void)required(id, "pause");
  const auto running = running_.find(id);
  if (running == running_.end()) throw Refused(409, fmt::format("job {} has just ended", id));
  auto& live = running->second.job;
  if (live.intent != Intent::kNone) return live;  // a second signal would end it without saving
  live.intent = Intent::kPause;
  parts_.store.save(live);
  ask_to_end(live.minder);
  return live;
}

Job Runner::save(std::int64_t id) { return wish(id, "save", SIGUSR1); }

Job Runner::sample(std::int64_t id) { return wish(id, "sample", SIGUSR2); }

Job Runner::wish(std::int64_t id, const char* action, int signal) {
  const std::lock_guard lock(mutex_);
  (void)required(id, action);
  const auto running = running_.find(id);
  if (running == running_.end()) throw Refused(409, fmt::format("job {} has just ended", id));
  tell(running->second.job.minder, signal);
  return running->second.job;
}

Job Runner::resume(std::int64_t id) {
  const std::lock_guard lock(mutex_);
  auto job = required(id, "resume");
  refuse_taken_up_late(job);
  job.state = JobState::kQueued;
  job.note.clear();
  parts_.store.put_last(job);
  parts_.store.save(job);
  changed(job);
  wake_.notify_all();
  return job;
}

/// Another run may have come to the place of a stopped one.
void Runner::refuse_taken_up_late(const Job& job) {
  auto jobs = parts_.store.running();
  for (auto& other : parts_.store.queued()) jobs.push_back(std::move(other));
  refuse_claimed(claims_on(job.order, jobs), job.order);
  const auto out = field<std::string>(job.order.options, "out", "");
  std::error_code ignored;
  if (job.order.kind != "tune" || out.empty()) return;  // pictures are painted once more
  if (!std::filesystem::exists(parts_.folder.root() / out, ignored)) return;
  throw Refused(409, fmt::format("job {} would write over {}, which is there now; move it away, or "
                                 "start anew",
                                 job.id, printable(out)));
}

Job Runner::move(std::int64_t id, std::int64_t position) {
  const std::lock_guard lock(mutex_);
  (void)required(id, "move");
  const auto last = static_cast<std::int64_t>(parts_.store.queued().size()) - 1;
  if (position < 0 || position > last) {
    throw Refused(400, fmt::format("the position is {}, expected 0 to {}", position, last));
  }
  parts_.store.move(id, position);
  tell_queue();
  return required(id, "");
}

void Runner::remove(std::int64_t id) {
  const std::lock_guard lock(mutex_);
  const auto job = required(id, "delete");
  parts_.folder.discard(job.folder());  // sample pictures, reports and figures lie there
  parts_.store.remove(id);
  tell_queue();
}

std::vector<Job> Runner::list(const JobFilter& filter) {
  const std::lock_guard lock(mutex_);
  auto jobs = parts_.store.list(filter);
  for (auto& job : jobs) {
    const auto running = running_.find(job.id);
    if (running != running_.end()) job = running->second.job;
  }
  return jobs;
}

std::vector<Job> Runner::queue() {
  const std::lock_guard lock(mutex_);
  std::vector<Job> jobs;
  for (const auto& [id, running] : running_) jobs.push_back(running.job);
  for (auto& job : parts_.store.queued()) jobs.push_back(std::move(job));
  return jobs;
}

Json Runner::shown(const Job& job) {
  auto json = to_json(job, command_text(job));
  if (job.state != JobState::kQueued) return json;
  std::int64_t position = 0;
  for (const auto& other : parts_.store.queued()) {
    if (other.id == job.id) break;
    if (other.order.queue() == job.order.queue()) ++position;
  }
  json["position"] = position;
  return json;
}

std::vector<std::string> Runner::notices() {
  const std::lock_guard lock(mutex_);
  return notices_;
}

void Runner::forget_notices() {
  const std::lock_guard lock(mutex_);
  notices_.clear();
}

bool Runner::wait_until_over(std::int64_t id, std::chrono::seconds patience) {
  std::unique_lock lock(mutex_);
  const auto is_over = [&] {
    const auto job = parts_.store.find(id);
    return stopping_ || !job || job->is_over() || job->state == JobState::kPaused ||
           job->state == JobState::kInterrupted;
  };
  return over_.wait_for(lock, patience, is_over) && !stopping_;
}

}  // namespace mos::studio
