#include "mos/studio/runner.h"

#include <fmt/core.h>

#include <algorithm>
#include <csignal>
#include <iterator>
#include <set>
#include <system_error>
#include <utility>

#include "mos/base/error_names.h"
#include "mos/base/file.h"
#include "mos/base/folder.h"
#include "mos/base/log.h"
#include "mos/base/text.h"
#include "mos/studio/job_order.h"
#include "mos/studio/process.h"

namespace mos::studio {
namespace {

namespace fs = std::filesystem;
using std::chrono::steady_clock;

constexpr std::chrono::milliseconds kLook{100};     ///< Between looks at what running jobs say.
constexpr std::chrono::milliseconds kBetween{250};  ///< Progress that is told.

std::int64_t size_of(const fs::path& file) {
  std::error_code code;
  const auto size = fs::file_size(file, code);
  return code ? 0 : static_cast<std::int64_t>(size);
}

Json only(const Json& event, std::initializer_list<const char*> names) {
  Json json = Json::object();
  for (const char* name : names) json[name] = event.value(name, Json());
  return json;
}

Json progress_of(const Json& event) {
  return only(event, {"stage", "step", "total", "loss", "seconds", "left"});
}

/// Of the jobs that have left files, also where the database is a new one: nothing is written over
/// them.
std::int64_t highest_id(const StudioFolder& folder) {
  constexpr std::int64_t kMost = 1'000'000;  // other numbers are names that somebody gave, of days
  std::int64_t highest = 0;
  for (const char* place : {"jobs", "gallery", "uploads", "fused"}) {
    for (const auto& path : entries_of(folder.root() / place)) {
      const auto name = path.filename().string();
      const auto digits = name.substr(0, name.find_first_not_of("0123456789"));
      const auto number = number_in<std::int64_t>(digits).value_or(0);
      if (number <= kMost) highest = std::max(highest, number);
    }
  }
  return highest;
}

std::string what(const Job& job) {
  return fmt::format("job {} ({} {})", job.id, job.order.kind, printable(job.order.title));
}

}  // namespace

Runner::Runner(RunnerParts parts) : parts_(std::move(parts)) {
  parts_.store.begin_above(highest_id(parts_.folder));
  take_up_again();
  thread_ = std::thread([this] { work(); });
}

Runner::~Runner() {
  stop();
  thread_.join();
}

void Runner::stop() {
  const std::lock_guard lock(mutex_);
  stopping_ = true;
  wake_.notify_all();
  over_.notify_all();
}

// ---- What runs ----

void Runner::take_up_again() {
  for (auto& job : parts_.store.running()) {
    const auto place = parts_.folder.root() / job.folder();
    // Its earlier talk is read again: previews and progress are known as if we had been there.
    job.previews.clear();
    Running running{std::move(job), JobTalk(place / "events.jsonl", 0), {}};
    hear(running);
    if (is_alive(running.job.minder)) {
      notices_.push_back(fmt::format("{} went on while the studio was away", what(running.job)));
      running_.emplace(running.job.id, std::move(running));
      continue;
    }
    settle(running);
    notices_.push_back(fmt::format("{} ended while the studio was away: {}{}", what(running.job),
                                   choice_name(running.job.state),
                                   running.job.note.empty() ? "" : ", " + running.job.note));
  }
  const auto waiting = parts_.store.queued().size();
  if (waiting > 0) notices_.push_back(fmt::format("{} waiting in the queue", waiting));
}

void Runner::work() {
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    try {
      for (auto entry = running_.begin(); entry != running_.end();) {
        entry = follow(entry->second) ? running_.erase(entry) : std::next(entry);
      }
      while (start_next()) continue;
    } catch (const std::exception& error) {  // a full disk; the next look may be better
      log::warn(error.what());
      wake_.wait_for(lock, std::chrono::seconds(1));
      continue;
    }
    if (running_.empty()) {
      wake_.wait(lock);
    } else {
      wake_.wait_for(lock, kLook);
    }
  }
}

bool Runner::start_next() {
  std::set<std::string> busy;
  for (const auto& [id, running] : running_) busy.insert(running.job.order.queue());
  auto jobs = parts_.store.queued();
  const auto next = std::ranges::find_if(
      jobs, [&busy](const Job& job) { return !busy.contains(job.order.queue()); });
  if (next == jobs.end()) return false;
  auto job = std::move(*next);
  try {
    start(job);
  } catch (const Error& error) {  // a full disk: trying it again and again helps nobody
    fail(std::move(job), error);
  }
  return true;
}

/// Of a job that could not be started.
void Runner::fail(Job job, const Error& error) {
  log::warn(fmt::format("{} cannot start: {}", what(job), error.what()));
  job.state = JobState::kFailed;
  job.ended = timestamp();
  job.error = {{"kind", choice_name(error.kind())},
               {"message", error.what()},
               {"exit_code", exit_code(error.kind())}};
  parts_.store.save(job);
  changed(job);
  over_.notify_all();
}

void Runner::start(Job job) {
  const auto place = parts_.folder.root() / job.folder();
  if (job.started.empty()) refuse_places_taken(parts_.folder, job.order);
  write_inputs(job, parts_.folder);
  std::error_code ignored;
  fs::remove(place / "results.txt", ignored);  // of a run before this one
  std::vector<std::string> arguments = {parts_.mos.string()};
  for (auto& part : command_of(job)) arguments.push_back(std::move(part));
  arguments.insert(arguments.end(), {"--progress", "json"});
  job.state = JobState::kRunning;
  job.started = timestamp();
  job.ended.clear();
  job.note.clear();
  job.error = job.estimate = job.progress = nullptr;
  job.intent = Intent::kNone;
  const auto talk = place / "events.jsonl";
  JobTalk reader(talk, size_of(talk));
  start_lasting({.arguments = arguments,
                 .folder = parts_.folder.root(),
                 .output = place / "results.txt",
                 .talk = talk,
                 .end = place / "end"},
                [&](const ProcessId& minder) {
                  job.minder = minder;
                  parts_.store.save(job);
                });
  changed(job);
  const auto id = job.id;
  running_.emplace(id, Running{std::move(job), std::move(reader), {}});
}

bool Runner::follow(Running& running) {
  const bool alive = is_alive(running.job.minder);  // before its last words are read
  hear(running);
  if (alive) return false;
  settle(running);
  return true;
}

void Runner::hear(Running& running) {
  auto& job = running.job;
  const auto folder = parts_.folder.root();
  for (const auto& event : running.talk.news()) {
    const auto kind = event.at("event").get<std::string>();
    if (kind == "progress") {
      job.progress = progress_of(event);
      if (steady_clock::now() - running.told < kBetween) continue;
      running.told = steady_clock::now();
      parts_.events.tell_progress(job.id, job.progress);
    } else if (kind == "preview") {
      const auto path = event.value("path", "");
      if (std::ranges::find(job.previews, path) == job.previews.end()) job.previews.push_back(path);
      parts_.events.tell("preview", {{"job", job.id}, {"path", path}});
    } else if (kind == "log") {
      auto line = only(event, {"level", "message"});
      line["job"] = job.id;
      parts_.events.tell("log", line);
    } else if (kind == "estimate") {
      job.estimate = only(event, {"seconds", "memory", "measured"});
    } else if (kind == "error") {
      job.error = only(event, {"kind", "message", "exit_code"});
    }
  }
}

void Runner::settle(Running& running) {
  auto& job = running.job;
  const auto end = read_end(parts_.folder.root() / job.folder() / "end");
  constexpr int kCancelledCode = 130;
  // A step of its own for each: what it was told to do counts only if it ended for that.
  if (!end) {
    settle_without_end(running);
  } else if (end->exit_code == 0) {
    job.state = JobState::kDone;
    job.error = nullptr;
  } else if (end->exit_code == kCancelledCode ||
             (end->signal != 0 && job.intent != Intent::kNone)) {
    job.state = job.intent == Intent::kCancel  ? JobState::kCancelled
                : job.intent == Intent::kPause ? JobState::kPaused
                                               : JobState::kInterrupted;
    if (job.intent == Intent::kNone) job.note = "it was told to end from elsewhere";
    job.error = nullptr;
  } else if (end->signal != 0) {
    job.state = JobState::kInterrupted;
    job.note =
        fmt::format("its process was ended by signal {}{}", end->signal,
                    end->signal == SIGKILL ? " (the system does that when memory is short)" : "");
  } else {
    job.state = JobState::kFailed;
    if (job.error.is_null()) {
      job.error = {{"kind", "internal"},
                   {"message", fmt::format("mos ended with {}", end->exit_code)},
                   {"exit_code", end->exit_code}};
    }
  }
  keep_results(running);
  reap(job.minder);
  job.ended = timestamp();
  job.minder = {};
  job.intent = Intent::kNone;
  if (parts_.ended) parts_.ended(job);
  parts_.store.save(job);
  changed(job);
  over_.notify_all();
}

void Runner::settle_without_end(Running& running) {
  auto& job = running.job;
  if (job.intent == Intent::kCancel) {
    job.state = JobState::kCancelled;
  } else {
    job.state = job.intent == Intent::kPause ? JobState::kPaused : JobState::kInterrupted;
    job.note = "its process is gone without a last word: the machine or somebody ended it";
  }
}

/// Its lines on stdout that are files of the studio. Previews that it has taken away are none.
void Runner::keep_results(Running& running) {
  auto& job = running.job;
  const auto root = parts_.folder.root();
  std::error_code ignored;
  job.results.clear();
  for (const auto& line : lines_of(root / job.folder() / "results.txt")) {
    if (line.size() < 1000 && fs::exists(root / line, ignored)) job.results.push_back(line);
  }
  std::erase_if(job.previews,
                [&](const std::string& path) { return !fs::exists(root / path, ignored); });
}

}  // namespace mos::studio
