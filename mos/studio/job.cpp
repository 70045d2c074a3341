#include "mos/studio/job.h"

#include <fmt/chrono.h>

#include <ctime>

namespace mos::studio {

std::vector<std::string> possible_actions(const Job& job) {
  switch (job.state) {
    case JobState::kQueued:
      return {"cancel", "move", "repeat"};
    case JobState::kRunning:
      if (job.order.kind == "tune" && !job.order.dry_run) {
        return {"cancel", "pause", "save", "sample", "repeat"};
      }
      return {"cancel", "repeat"};
    case JobState::kPaused:
    case JobState::kInterrupted:
      return {"resume", "cancel", "repeat"};
    case JobState::kDone:
    case JobState::kFailed:
    case JobState::kCancelled:
      break;
  }
  return {"repeat", "delete"};
}

namespace {

Json or_null(const std::string& text) { return text.empty() ? Json() : Json(text); }

}  // namespace

Json to_json(const Job& job, const std::string& command) {
  return {{"id", job.id},
          {"kind", job.order.kind},
          {"title", job.order.title},
          {"state", choice_name(job.state)},
          {"dry_run", job.order.dry_run},
          {"device", job.order.device},
          {"position", nullptr},
          {"created", job.created},
          {"started", or_null(job.started)},
          {"ended", or_null(job.ended)},
          {"options", job.order.options},
          {"scene", job.order.scene},
          {"words", job.order.words},
          {"progress", job.progress},
          {"previews", job.previews},
          {"results", job.results},
          {"estimate", job.estimate},
          {"error", job.error},
          {"note", or_null(job.note)},
          {"command", command},
          {"can", possible_actions(job)}};
}

std::string timestamp() {
  return fmt::format("{:%Y-%m-%dT%H:%M:%SZ}", fmt::gmtime(std::time(nullptr)));
}

}  // namespace mos::studio
