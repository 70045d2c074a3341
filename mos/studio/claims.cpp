#include "mos/studio/claims.h"

#include <fmt/core.h>

#include <algorithm>
#include <system_error>

#include "mos/base/text.h"
#include "mos/studio/http.h"
#include "mos/studio/job_order.h"

namespace mos::studio {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kConceptEnding = ".safetensors";

bool is_there(const fs::path& path) {
  std::error_code ignored;
  return fs::exists(fs::symlink_status(path, ignored));
}

std::string text_at(const Json& options, const std::string& name) {
  const auto value = options.value(name, Json());
  return value.is_string() ? value.get<std::string>() : "";
}

std::string name_of_data(const JobOrder& order) {
  return fs::path(text_at(order.options, "data")).filename().string();
}

/// "concept-files/NAME.safetensors" or one of the names that come after it, with a number.
bool is_own_name(std::string path, const std::string& name) {
  const auto begin = "concept-files/" + name;
  if (!path.starts_with(begin) || !path.ends_with(kConceptEnding)) return false;
  path.resize(path.size() - kConceptEnding.size());
  const auto rest = path.size() < begin.size() ? "" : path.substr(begin.size());
  return rest.empty() || (rest.size() > 1 && rest.front() == '-' &&
                          rest.find_first_not_of("0123456789", 1) == rest.npos);
}

}  // namespace

const std::vector<std::string>& written_options() {
  static const std::vector<std::string> options = {"out",  "lora",     "report",
                                                   "grid", "previews", "page"};
  return options;
}

Claims claims_on(const JobOrder& order, const std::vector<Job>& jobs) {
  const bool goes_on = order.kind == "tune" && order.options.contains("fresh");
  Claims claims;
  for (const auto& job : jobs) {
    const bool is_stopped = job.state == JobState::kPaused || job.state == JobState::kInterrupted;
    const bool is_same = job.order.kind == "tune" &&
                         text_at(job.order.options, "data") == text_at(order.options, "data");
    if (job.order.dry_run || (goes_on && is_stopped && is_same)) continue;
    const auto options = options_to_run(job);
    for (const auto& name : written_options()) {
      if (const auto path = text_at(options, name); !path.empty()) claims.emplace(path, job.id);
    }
  }
  return claims;
}

void refuse_claimed(const Claims& claims, const std::string& what, const std::string& path) {
  const auto found = claims.find(path);
  if (found == claims.end()) return;
  throw Refused(
      409, fmt::format("{} is {}, which job {} will write", what, printable(path), found->second));
}

void refuse_claimed(const Claims& claims, const JobOrder& order) {
  for (const auto& name : written_options()) {
    refuse_claimed(claims, fmt::format("\"{}\"", name), text_at(order.options, name));
  }
}

void refuse_places_taken(const StudioFolder& folder, const JobOrder& order) {
  for (const auto& name : written_options()) {
    const auto path = text_at(order.options, name);
    if (path.empty() || !is_there(folder.root() / path)) continue;
    throw Error(ErrorKind::kUsage,
                fmt::format("\"{}\" is {}, which has come there since the job was queued; repeat "
                            "it for another name, or move what is there away",
                            name, printable(path)));
  }
}

std::string place_to_tune(const JobOrder& order, const StudioFolder& folder, const Claims& claims,
                          const std::vector<Job>& tunings) {
  const auto name = name_of_data(order);
  for (const auto& job : tunings) {
    const auto out = text_at(job.order.options, "out");
    const bool is_same = text_at(job.order.options, "data") == text_at(order.options, "data");
    if (!is_same || job.order.dry_run || !is_own_name(out, name) || claims.contains(out)) continue;
    const auto place = folder.root() / out;
    if (is_there(place.string() + ".checkpoint") && !is_there(place)) return out;
  }
  return folder.free_name(fmt::format("concept-files/{}{}", name, kConceptEnding),
                          [&claims](const std::string& path) { return claims.contains(path); });
}

}  // namespace mos::studio
