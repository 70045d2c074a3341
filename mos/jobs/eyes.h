#pragma once

#include <torch/types.h>

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "mos/eval/clip_score.h"
#include "mos/jobs/evaluate.h"
#include "mos/region/region.h"

/// Looking at the pictures of an EvaluateJob.
namespace mos::jobs {

/// `path` itself, or the pictures of a folder: of its images/, if it has one as concepts do. Throws
/// kFormat for a folder without any.
std::vector<std::filesystem::path> pictures_of(const std::filesystem::path& path);
/// The same of several, in their order.
std::vector<std::filesystem::path> pictures_of(const std::vector<std::string>& paths);

/// What a picture's own record says of it.
struct ToldPicture {
  region::Scene scene;
  std::uint64_t seed = 0;
};
/// Nothing for a picture of other programs, and for a grid.
std::optional<ToldPicture> told_by(const std::filesystem::path& picture);

/// `values` [G] of `pictures` as a table of prompts and seeds [P,S], where their records tell a
/// whole one; [G,1] elsewhere.
struct ByPrompt {
  torch::Tensor table;
  bool is_told = false;
};
ByPrompt by_prompt(const torch::Tensor& values, const std::vector<std::filesystem::path>& pictures);

/// What part of each picture is looked at.
struct Look {
  std::vector<double> part;  ///< top, left, bottom, right, shares; empty: all.
  std::int64_t columns = 1;  ///< Pictures side by side in it.
};

/// Embeds pictures one by one, whatever their sizes.
class Eyes {
 public:
  /// Refers to both.
  Eyes(const EvaluateJob& job, const JobContext& context);

  /// Unit vectors of each look at each picture [G,D], by CLIP and, where the job names one, DINO.
  struct Seen {
    torch::Tensor clip, dino;
  };
  Seen see(const std::vector<std::filesystem::path>& pictures, const std::string& stage,
           const Look& look = {});

  torch::Tensor read(const std::string& text);  ///< [1,D]

 private:
  void tell(const std::string& stage, std::int64_t done, std::size_t all, double seconds) const;

  const JobContext& context_;
  eval::ClipScorer scorer_;
  std::optional<eval::DinoScorer> dino_;
};

}  // namespace mos::jobs
