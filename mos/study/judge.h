#pragma once

#include <torch/types.h>

#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "mos/eval/clip_score.h"
#include "mos/study/plan.h"

namespace mos::study {

/// Who measures the pictures of a study: the base's own judge or another CLIP, and DINO if one is
/// named.
class Judge {
 public:
  /// Refers to `options`. Throws as eval::ClipScorer does.
  explicit Judge(const StudyOptions& options);

  /// Of the weights of all that judges, and how texts are put.
  static std::string hash_of(const StudyOptions& options);

  /// Fills `folder` with the figures of the pictures in `painting`.
  void measure(const MeasureCell& cell, const std::filesystem::path& painting,
               const std::filesystem::path& folder);

  /// What the figures image, first and dino can reach: how alike a concept's own pictures are, each
  /// with the others, and with the first. None of a single picture, which is like no other.
  std::map<std::string, double> ceilings(const Subject& subject);

 private:
  struct Seen {
    torch::Tensor clip, dino;  ///< Without DINO undefined.
  };
  Seen see(const torch::Tensor& pictures);
  const Seen& references_of(const Subject& subject);
  torch::Tensor text_alignment(const torch::Tensor& seen, const std::string& text);
  Json measure_one(const MeasureCell& cell, const torch::Tensor& pictures);
  Json measure_several(const MeasureCell& cell, const torch::Tensor& pictures);

  const StudyOptions& options_;
  eval::ClipScorer clip_;
  std::optional<eval::DinoScorer> dino_;
  std::map<std::string, Seen> references_;  ///< By concept.
};

/// The picture files in the folder of a painting, in the order of their seeds.
std::vector<std::filesystem::path> pictures_in(const std::filesystem::path& painting);

/// What a measuring found.
struct Figures {
  /// By name, a value for each seed: text, image, first, dino; of several text, own and margin
  /// [regions, seeds].
  std::map<std::string, torch::Tensor> values;
};
Figures read_figures(const std::filesystem::path& folder);

}  // namespace mos::study
