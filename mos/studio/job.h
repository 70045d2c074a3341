#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "mos/base/choice.h"
#include "mos/base/json.h"
#include "mos/studio/process.h"

/// A piece of work in the queue, as a value.
namespace mos::studio {

enum class JobState { kQueued, kRunning, kPaused, kInterrupted, kDone, kFailed, kCancelled };
constexpr auto choice_names(JobState) {
  return std::to_array<Named<JobState>>({{"queued", JobState::kQueued},
                                         {"running", JobState::kRunning},
                                         {"paused", JobState::kPaused},
                                         {"interrupted", JobState::kInterrupted},
                                         {"done", JobState::kDone},
                                         {"failed", JobState::kFailed},
                                         {"cancelled", JobState::kCancelled}});
}

/// What is asked for, checked.
struct JobOrder {
  std::string kind;  ///< A command of mos.
  std::string title;
  Json options = Json::object();  ///< Those that were given.
  Json scene;                     ///< Null: none.
  std::vector<std::string> words;
  bool dry_run = false;
  std::string device = "cpu";
  bool has_own_name = false;  ///< The studio chose "out"; not kept.

  /// Jobs of one of these wait for each other: "cuda" is the first of them.
  std::string queue() const { return device == "cuda" ? "cuda:0" : device; }
};

/// Why a running job was told to end.
enum class Intent { kNone, kCancel, kPause };
constexpr auto choice_names(Intent) {
  return std::to_array<Named<Intent>>(
      {{"none", Intent::kNone}, {"cancel", Intent::kCancel}, {"pause", Intent::kPause}});
}

struct Job {
  std::int64_t id = 0;
  JobOrder order;
  JobState state = JobState::kQueued;
  std::int64_t place = 0;               ///< Sorts the queue.
  std::string created, started, ended;  ///< "2026-11-26T07:00:00Z"; empty: not yet.
  Json progress, estimate, error;       ///< Null: none.
  std::vector<std::string> previews, results;
  std::string note;
  ProcessId minder;
  Intent intent = Intent::kNone;

  bool is_over() const {
    return state == JobState::kDone || state == JobState::kFailed || state == JobState::kCancelled;
  }
  /// "jobs/12"
  std::string folder() const { return "jobs/" + std::to_string(id); }
};

/// What can be done with it now: "cancel", "pause" and so on.
std::vector<std::string> possible_actions(const Job& job);

/// As the API has it, but for its position.
Json to_json(const Job& job, const std::string& command);

/// The time now, as above.
std::string timestamp();

}  // namespace mos::studio
