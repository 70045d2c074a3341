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
  std::int64_t judged = 1000;           ///< Held-out pictures for each figure of the judge itself.
  std::int64_t pictures = 2000;         ///< Painted for the Fréchet distance and the sharpness.
  std::int64_t pictures_per_class = 1;  ///< Painted of each class in each style.
  std::int64_t pairs = 160;             ///< Painted pictures with two subjects, of each canvas.
  std::int64_t triples = 120;           ///< Painted pictures with three subjects.
  std::int64_t steps = 25;
  double guidance = 4.0;
  std::int64_t seed = 1;
  std::string device = "cpu";
};

template <class Visitor>
void describe(Visitor& visit, AcceptanceOptions& options) {
  visit("swap_pictures", options.swap_pictures, "held-out pictures for each caption-swap test");
  visit("judged", options.judged, "held-out pictures for each figure of the judge itself");
  visit("pictures", options.pictures, "painted for the Frechet distance and the sharpness");
  visit("pictures_per_class", options.pictures_per_class, "painted of each class in each style");
  visit("pairs", options.pairs, "painted pictures with two subjects, of each canvas");
  visit("triples", options.triples, "painted pictures with three subjects");
  visit("steps", options.steps, "sampling steps");
  visit("guidance", options.guidance, "guidance scale");
  visit("seed", options.seed, "start of the random numbers");
  visit("device", options.device, "cpu, cuda or cuda:1");
}

constexpr double kNoBound = 1e9;

/// One figure and what is asked of it; without a bound it is told and not judged.
struct AcceptanceRow {
  std::string name;
  double value = 0.0;
  double least = 0.0;
  double most = kNoBound;
  bool passed() const { return value >= least && value <= most; }
};

/// Measures the latest checkpoints of `base` by its judge, and writes `base`/acceptance.png
/// (painted pictures: single subjects, pairs).
///
/// - Judge: how often it is right itself, on held-out pictures.
/// - Caption swaps: prefers_own_caption.
/// - Fréchet distance of the judge's features, and sharpness (laplacian_energy): pictures painted
///   from held-out square pictures' captions, against these pictures.
/// - Recognition: subjects piece by piece from left to right, background and style of the whole.
/// - Adapters that are trained: adapter_effect; pictures to look at in effect.png of their folders.
std::vector<AcceptanceRow> accept(const std::filesystem::path& base,
                                  const AcceptanceOptions& options,
                                  const ProgressCallback& progress, const CancelToken* cancel);

/// Keeps the figures in `base`/acceptance.json, which export_base puts into the training record.
void write_acceptance(const std::filesystem::path& base, const AcceptanceOptions& options,
                      const std::vector<AcceptanceRow>& rows);

/// An aligned table for the terminal.
std::string acceptance_table(const std::vector<AcceptanceRow>& rows);

}  // namespace mos::pretrain
