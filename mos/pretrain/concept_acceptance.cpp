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

/// What concepts are tuned on.
std::filesystem::path tuned_on(const std::filesystem::path& base,
                               const AcceptanceOptions& options) {
  return options.model.empty() ? base / "export" : std::filesystem::path(options.model);
}

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

void check_tunable(const std::filesystem::path& base, const AcceptanceOptions& options) {
  const auto model = tuned_on(base, options);
  if (std::filesystem::exists(model)) return;
  const auto advice =
      options.model.empty()
          ? fmt::format("write it with `mos pretrain export --out {}`", base.string())
          : std::string("give another --model");
  throw Error(ErrorKind::kIo, fmt::format("concepts are tuned on {}, which is not there; {}",
                                          model.string(), advice));
}

std::vector<AcceptanceRow> accept_concepts(const std::filesystem::path& base,
                                           const AcceptanceOptions& options,
                                           const ProgressCallback& progress,
                                           const CancelToken* cancel) {
  check_tunable(base, options);
  demo::TrialOptions trial{.base = tuned_on(base, options).string(),
                           .concepts = options.concepts,
                           .out = (base / "concepts").string(),
                           .guidance_scale = options.guidance,
                           .perturbed_attention = options.perturbed_attention};
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
