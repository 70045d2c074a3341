#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "mos/base/progress.h"

namespace mos::demo {

/// How well concepts can be tuned on a base model, each alone, by the eyes of its judge.
struct TrialOptions {
  std::string base;                        ///< Diffusers directory with its judge.
  std::string concepts = "base/concepts";  ///< Folders that `mos tune` reads; all are tried.
  std::string out;                         ///< Gets the concept files and grids of pictures.
  /// Where the characters and objects are painted anew: phrases that follow the concept.
  std::vector<std::string> places = {"on the beach", "in the snow"};
  /// Phrases of all backgrounds that a picture could show, the places among them.
  std::vector<std::string> backgrounds;
  std::int64_t pictures = 8;  ///< Of each concept, and in each place.
  std::int64_t steps = 30;
  double guidance_scale = 2.0;
  double perturbed_attention = 0.0;
  std::uint64_t seed = 7;
  std::int64_t tune_steps = 0;  ///< 0: what the base recommends.
};

/// Alignments of the judge's embeddings; those of painted pictures over that of the concept's own
/// pictures among themselves, which is what painting can reach.
struct TrialFigures {
  std::string name;
  double among_themselves = 0.0;  ///< eval::leave_one_out_alignment of its own pictures.
  double alone = 0.0;             ///< "a photo of a …", over that.
  bool placed = false;            ///< Whether it was painted in places: a scene is none itself.
  double in_places = 0.0;         ///< Over that.
  double places_told = 0.0;       ///< Share of these pictures whose background is told right.
  double tuning_seconds = 0.0;    ///< Wall time.
};

/// Throws mos::Error as tuning and painting do; kUsage where a place is not among the backgrounds.
std::vector<TrialFigures> try_concepts(const TrialOptions& options,
                                       const ProgressCallback& progress, const CancelToken* cancel);

}  // namespace mos::demo
