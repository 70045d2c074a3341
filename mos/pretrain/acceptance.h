#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "mos/base/json.h"
#include "mos/base/progress.h"

/// Is the base model good enough for concepts to be tuned on it?
namespace mos::pretrain {

struct AcceptanceOptions {
  std::int64_t swap_pictures = 128;     ///< Held-out pictures for each caption-swap test.
  std::int64_t pictures_per_class = 2;  ///< Generated, for each class.
  std::int64_t pairs = 48;              ///< Generated pictures with two subjects.
  std::int64_t steps = 25;
  double guidance = 4.0;
  std::int64_t seed = 1;
};

template <class Visitor>
void describe(Visitor& visit, AcceptanceOptions& options) {
  visit("swap_pictures", options.swap_pictures, "held-out pictures for each caption-swap test");
  visit("pictures_per_class", options.pictures_per_class, "generated pictures for each class");
  visit("pairs", options.pairs, "generated pictures with two subjects");
  visit("steps", options.steps, "sampling steps");
  visit("guidance", options.guidance, "guidance scale");
  visit("seed", options.seed, "start of the random numbers");
}

/// One figure and what is asked of it.
struct AcceptanceRow {
  std::string name;
  double value = 0.0;
  double wanted = 0.0;
  bool passed() const { return value > wanted; }
};

/// Measures the latest checkpoints of `base`, writes `base`/acceptance.json and
/// `base`/acceptance.png (the generated pictures).
///
/// - Caption swaps: share of held-out pictures whose denoising error, averaged over four timesteps
///   in 300…800 with fixed noise, is lower with their own caption than with one that has a subject
///   (or the sides) exchanged.
/// - Recognition: the image tower's nearest caption among all classes (or backgrounds, or ordered
///   pairs of classes) is the one that the picture was made from.
/// - Adapters that are trained: adapter_effect; pictures to look at in effect.png of their folders.
std::vector<AcceptanceRow> accept(const std::filesystem::path& base,
                                  const AcceptanceOptions& options,
                                  const ProgressCallback& progress, const CancelToken* cancel);

/// An aligned table for the terminal.
std::string acceptance_table(const std::vector<AcceptanceRow>& rows);

}  // namespace mos::pretrain
