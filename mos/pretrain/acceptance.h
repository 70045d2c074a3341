#pragma once

#include <fmt/ranges.h>

#include <filesystem>
#include <string>
#include <vector>

#include "mos/base/counts.h"
#include "mos/base/json.h"
#include "mos/base/progress.h"
#include "mos/pretrain/sampling.h"

/// Is the base model good enough for concepts to be tuned on it?
namespace mos::pretrain {

/// The names of what can be measured alone.
const std::vector<std::string>& acceptance_parts();

struct AcceptanceOptions {
  std::int64_t swap_pictures = 128;     ///< Held-out pictures for each caption-swap test.
  std::int64_t judged = 1000;           ///< Held-out pictures for each figure of the judge itself.
  std::int64_t pictures = 2000;         ///< Painted for the Fréchet distance and the sharpness.
  std::int64_t pictures_per_class = 1;  ///< Painted of each class in each style.
  std::int64_t pairs = 640;             ///< Painted pictures with two subjects, of each canvas.
  std::int64_t triples = 120;           ///< Painted pictures with three subjects.
  std::int64_t steps = 25;
  double guidance = kGuidance;
  double perturbed_attention = kPerturbed;
  std::int64_t seed = 1;
  std::string device = "cpu";
  /// What is measured, of acceptance_parts(); empty: everything.
  std::vector<std::string> parts;
  std::string model;  ///< A base in diffusers' layout that is measured in place of the checkpoints.
  std::string concepts;  ///< Folder of concepts to tune on `base`/export, or model; empty: none.
};

template <class Visitor>
void describe(Visitor& visit, AcceptanceOptions& options) {
  visit("swap_pictures", options.swap_pictures, "held-out pictures for each caption-swap test",
        count_of(1, kMostPictures));
  visit("judged", options.judged, "held-out pictures for each figure of the judge itself",
        count_of(1, kMostPictures));
  visit("pictures", options.pictures, "painted for the Frechet distance and the sharpness",
        count_of(1, kMostPictures));
  visit("pictures_per_class", options.pictures_per_class, "painted of each class in each style",
        count_of(1, kMostPictures));
  visit("pairs", options.pairs, "painted pictures with two subjects, of each canvas",
        count_of(1, kMostPictures));
  visit("triples", options.triples, "painted pictures with three subjects",
        count_of(1, kMostPictures));
  visit("steps", options.steps, "sampling steps", count_of(1, kMostDenoisingSteps));
  visit("guidance", options.guidance, "guidance scale", between(0, 100));
  visit("perturbed_attention", options.perturbed_attention, "as of mos sample", between(0, 1));
  visit("seed", options.seed, "start of the random numbers", count_of(0, kLargestSeed));
  visit("device", options.device, "cpu, cuda or cuda:1");
  visit("parts", options.parts,
        fmt::format("what is measured: {} (empty: all)", fmt::join(acceptance_parts(), ", ")),
        one_of(acceptance_parts()));
  visit("model", options.model,
        "a finished base, a diffusers directory: measured in place of the checkpoints of --out",
        a_path());
  visit("concepts", options.concepts,
        "folder of concepts to tune on OUT/export, or on --model, and to measure, too", a_path());
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

/// Measures the latest checkpoints of `base`, or options.model, by the judge of `base`, and writes
/// `base`/acceptance.png, or acceptance_of_model.png (painted pictures: single subjects, pairs).
///
/// - Judge: how often it is right itself, on held-out pictures.
/// - Caption swaps: prefers_own_caption.
/// - Fréchet distance of the judge's features, and sharpness (laplacian_energy): pictures painted
///   from held-out square pictures' captions, against these pictures.
/// - Recognition: subjects piece by piece from left to right, background and style of the whole.
/// - Adapters that are trained, of checkpoints alone: adapter_effect; pictures to look at in
/// effect.png of their folders.
std::vector<AcceptanceRow> accept(const std::filesystem::path& base,
                                  const AcceptanceOptions& options,
                                  const ProgressCallback& progress, const CancelToken* cancel);

/// Keeps the figures in `base`/acceptance.json, which export_base puts into the training record,
/// each with the device that computed it; those of options.model in acceptance_of_model.json. Where
/// parts alone were measured, the others' figures stay, if they are of the same checkpoint.
void write_acceptance(const std::filesystem::path& base, const AcceptanceOptions& options,
                      const std::vector<AcceptanceRow>& rows);

/// An aligned table for the terminal.
std::string acceptance_table(const std::vector<AcceptanceRow>& rows);

}  // namespace mos::pretrain
