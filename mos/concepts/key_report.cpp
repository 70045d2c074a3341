#include "mos/concepts/key_report.h"

#include <fmt/core.h>

#include <algorithm>
#include <iterator>
#include <sstream>

#include "mos/base/error.h"
#include "mos/base/log.h"
#include "mos/base/text.h"

namespace mos::concepts {

namespace {

/// "1 key", "2 keys".
std::string keys_text(std::size_t count) {
  return fmt::format("{} {}", count, count == 1 ? "key" : "keys");
}

}  // namespace

std::string KeyReport::summary() const {
  auto text = fmt::format("{} matched, {} missing, {} unexpected", keys_text(matched.size()),
                          missing.size(), unexpected.size());
  if (!wrong.empty()) text += fmt::format(", {} of a wrong shape", wrong.size());
  for (const auto& [what, keys] : foreign) text += fmt::format(", {} of {}", keys.size(), what);
  return text;
}

void KeyReport::tell_listing() const {
  std::istringstream lines(listing());
  for (std::string line; std::getline(lines, line);) log::info(line);
}

std::string KeyReport::listing() const {
  std::string text;
  for (const auto& use : matched)
    text += fmt::format("matched     {} -> {}\n", printable(use.key), printable(use.target));
  for (const auto& key : missing) text += fmt::format("missing     {}\n", printable(key));
  for (const auto& [key, why] : unexpected) {
    text += fmt::format("unexpected  {} ({})\n", printable(key), printable(why));
  }
  for (const auto& reason : wrong) text += fmt::format("wrong       {}\n", printable(reason));
  for (const auto& [what, keys] : foreign) {
    for (const auto& key : keys) text += fmt::format("refused     {} ({})\n", printable(key), what);
  }
  return text;
}

/// Those of `targets`, in their order.
template <typename Targets>
std::vector<KeyReport::Use> KeyReport::take_matched(const Targets& targets) {
  const auto first = std::stable_partition(matched.begin(), matched.end(), [&](const Use& use) {
    return !targets.contains(use.target);
  });
  std::vector<Use> taken(std::make_move_iterator(first), std::make_move_iterator(matched.end()));
  matched.erase(first, matched.end());
  return taken;
}

void KeyReport::reject(const std::set<std::string>& targets) {
  for (auto& use : take_matched(targets)) {
    unexpected.push_back({std::move(use.key), "the base model has no such layer"});
  }
}

void KeyReport::misfit(const std::map<std::string, std::string>& reasons) {
  for (const auto& use : take_matched(reasons)) {
    wrong.push_back(fmt::format("{} ({})", use.key, reasons.at(use.target)));
  }
}

namespace {

/// Says what is left out; throws if that is all.
void leave_out_foreign(const KeyReport& report, const std::string& origin) {
  for (const auto& [what, keys] : report.foreign) {
    log::warn(fmt::format("{}: {} of {}, which is not applied here, left out, such as {}", origin,
                          keys_text(keys.size()), what, keys.front()));
  }
}

[[noreturn]] void refuse_foreign(const KeyReport& report, const std::string& origin) {
  const auto& [what, keys] = *report.foreign.begin();
  throw Error(
      ErrorKind::kMismatch,
      fmt::format("{} is of a kind that is not applied here: {} ({} of its keys, such as "
                  "{}); LoRA, LoCon, LoHa, LoKr, DoRA and full differences for Stable "
                  "Diffusion 1.x and 2.x are{}",
                  origin, what, keys.size(), keys.front(),
                  report.matched.empty() ? "" : "; --allow-unexpected leaves these keys out"));
}

}  // namespace

void check_keys(const KeyReport& report, const std::string& origin, UnexpectedKeys unexpected) {
  // A file of which nothing was understood is no concept with strays in it.
  const bool may_leave_out = unexpected == UnexpectedKeys::kLeaveOut && !report.matched.empty();
  if (!report.foreign.empty()) {
    // What is foreign has a name, so it is refused by that and not as 300 keys.
    if (!may_leave_out) refuse_foreign(report, origin);
    leave_out_foreign(report, origin);
  }
  auto reasons = report.wrong;
  for (const auto& key : report.missing) reasons.push_back(key + " (missing)");
  for (const auto& [key, why] : report.unexpected) {
    if (!may_leave_out) reasons.push_back(fmt::format("{} ({})", key, why));
  }
  if (!reasons.empty()) {
    // Advice only where it helps: missing halves and wrong shapes cannot be left out.
    const bool only_unexpected =
        report.wrong.empty() && report.missing.empty() && !report.matched.empty();
    throw Error(
        ErrorKind::kMismatch,
        fmt::format("{} is not a concept file we can use; {} not fit: {}{}", origin,
                    keys_text(reasons.size()) + (reasons.size() == 1 ? " does" : " do"),
                    listed(reasons),
                    only_unexpected ? "; --allow-unexpected leaves unexpected keys out" : ""));
  }
  if (report.matched.empty()) {
    throw Error(ErrorKind::kFormat, origin + " holds no concept: no words and no LoRA");
  }
}

}  // namespace mos::concepts
