#include "mos/concepts/key_report.h"

#include <fmt/core.h>

#include "mos/base/error.h"
#include "mos/base/text.h"

namespace mos::concepts {

std::string KeyReport::summary() const {
  auto text = fmt::format("{} keys matched, {} missing, {} unexpected", matched.size(),
                          missing.size(), unexpected.size());
  if (!wrong.empty()) text += fmt::format(", {} of a wrong shape", wrong.size());
  for (const auto& [what, keys] : foreign) text += fmt::format(", {} of {}", keys.size(), what);
  return text;
}

std::string KeyReport::listing() const {
  std::string text;
  for (const auto& use : matched)
    text += fmt::format("matched     {} -> {}\n", printable(use.key), printable(use.target));
  for (const auto& key : missing) text += fmt::format("missing     {}\n", printable(key));
  for (const auto& key : unexpected) text += fmt::format("unexpected  {}\n", printable(key));
  for (const auto& reason : wrong) text += fmt::format("wrong       {}\n", printable(reason));
  for (const auto& [what, keys] : foreign) {
    for (const auto& key : keys) text += fmt::format("refused     {} ({})\n", printable(key), what);
  }
  return text;
}

std::vector<std::string> KeyReport::take_matched(const std::string& target) {
  std::vector<std::string> taken;
  std::vector<Use> kept;
  for (auto& use : matched) {
    if (use.target == target) {
      taken.push_back(std::move(use.key));
    } else {
      kept.push_back(std::move(use));
    }
  }
  matched = std::move(kept);
  return taken;
}

void KeyReport::reject(const std::string& target) {
  for (auto& key : take_matched(target)) unexpected.push_back(std::move(key));
}

void KeyReport::misfit(const std::string& target, const std::string& reason) {
  for (const auto& key : take_matched(target)) {
    wrong.push_back(fmt::format("{} ({})", key, reason));
  }
}

void check_keys(const KeyReport& report, const std::string& origin, UnexpectedKeys unexpected) {
  if (!report.foreign.empty()) {
    const auto& [what, keys] = *report.foreign.begin();
    throw Error(ErrorKind::kMismatch,
                fmt::format("{} is of a kind that is not applied here: {} ({} of its keys, such as "
                            "{}); LoRA and LoCon for Stable Diffusion 1.x and 2.x are",
                            origin, what, keys.size(), keys.front()));
  }
  auto reasons = report.wrong;
  for (const auto& key : report.missing) reasons.push_back(key + " (missing)");
  const bool may_leave_out = unexpected == UnexpectedKeys::kLeaveOut;
  for (const auto& key : report.unexpected) {
    if (!may_leave_out) reasons.push_back(key + " (not part of a concept)");
  }
  if (!reasons.empty()) {
    const bool only_unexpected = report.wrong.empty() && report.missing.empty();
    throw Error(
        ErrorKind::kMismatch,
        fmt::format("{} is not a concept file we can use; {} keys do not fit: {}{}", origin,
                    reasons.size(), listed(reasons),
                    only_unexpected ? "; --allow-unexpected leaves unexpected keys out" : ""));
  }
  if (report.matched.empty()) {
    throw Error(ErrorKind::kFormat, origin + " holds no concept: no words and no LoRA");
  }
}

}  // namespace mos::concepts
