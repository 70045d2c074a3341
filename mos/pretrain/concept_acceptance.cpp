#include "mos/pretrain/concept_acceptance.h"

#include <fmt/core.h>

#include <algorithm>
#include <string_view>

#include "mos/base/error.h"
#include "mos/demo/concept_trial.h"
#include "mos/pretrain/data.h"
#include "mos/pretrain/judge.h"

namespace mos::pretrain {
namespace {

std::filesystem::path export_of(const std::filesystem::path& base) { return base / "export"; }

/// Sums over concepts; a scene is placed nowhere, so it counts in the first figures alone.
struct Sums {
  double alone = 0.0, all = 0.0;
  double in_places = 0.0, told = 0.0, placed = 0.0;
  double slowest = 0.0;

  void add(const demo::TrialFigures& figures) {
    alone += figures.alone;
    all += 1.0;
    slowest = std::max(slowest, figures.tuning_seconds);
    if (!figures.placed) return;
    in_places += figures.in_places;
    told += figures.places_told;
    placed += 1.0;
  }
};

}  // namespace

void check_export(const std::filesystem::path& base) {
  if (std::filesystem::exists(export_of(base))) return;
  throw Error(ErrorKind::kIo,
              fmt::format("concepts are tuned on {}, which is not there; write it with `mos "
                          "pretrain export --out {}`",
                          export_of(base).string(), base.string()));
}

std::vector<AcceptanceRow> accept_concepts(const std::filesystem::path& base,
                                           const std::string& concepts,
                                           const ProgressCallback& progress,
                                           const CancelToken* cancel) {
  check_export(base);
  demo::TrialOptions trial{
      .base = export_of(base).string(), .concepts = concepts, .out = (base / "concepts").string()};
  constexpr std::string_view kPhoto = "a photo ";  // the trial puts the concept behind it
  for (const auto& prompt : background_prompts(Dataset(base).world())) {
    trial.backgrounds.push_back(prompt.substr(kPhoto.size()));
  }
  std::vector<AcceptanceRow> rows;
  Sums sums;
  for (const auto& figures : demo::try_concepts(trial, progress, cancel)) {
    rows.push_back(
        {"concept " + figures.name + ": alignment over its own pictures'", figures.alone, 0.0});
    sums.add(figures);
  }
  rows.push_back({"concepts: alignment over their own pictures'", sums.alone / sums.all, 0.90});
  rows.push_back(
      {"concepts: the same on the beach and in the snow", sums.in_places / sums.placed, 0.85});
  rows.push_back({"concepts: beach and snow recognised", sums.told / sums.placed, 0.90});
  rows.push_back({"concepts: seconds of the slowest tuning", sums.slowest, 0.0, 90.0});
  return rows;
}

}  // namespace mos::pretrain
