#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "mos/concepts/lora.h"
#include "mos/fuse/capture.h"
#include "mos/fuse/gram_store.h"
#include "mos/fuse/report.h"
#include "mos/fuse/solver.h"

namespace mos::fuse {

enum class Solver { kRidge, kLbfgs };

struct StageOptions {
  std::string name;  ///< For the report.
  Solver solver = Solver::kRidge;
  double relative_ridge = 1e-2;
  /// Share of every concept's update that the ridge leads to; 0: the base model, 1/n: weight
  /// fusion.
  double prior_share = 0.0;
  std::int64_t iterations = 50;  ///< Of L-BFGS.
  /// For the moments of convolutions that read patches, whose side is channels·k·k: the smallest
  /// ones that fit in here are fitted on their inputs, the others fused by weights (Eq. 2).
  std::int64_t patch_memory_bytes = 0;
};

/// One stage of gradient fusion: some layers of one network, for all concepts. Concepts are added
/// one after the other; their moments wait in a file, so what stays in memory is the result.
class FusionStage {
 public:
  /// `updates` and `scales` (merge_scale) of each concept; a layer takes part if any concept has
  /// it.
  FusionStage(torch::nn::Module& network, std::vector<concepts::LayerUpdates> updates,
              std::vector<double> scales, StageOptions options);

  bool empty() const { return shapes_.empty(); }
  /// Those whose inputs count.
  const LayerNames& layers() const { return layers_; }
  /// Convolutions whose moments need more memory than there is: the equal average of the concepts.
  const LayerNames& averaged() const { return averaged_; }
  const concepts::LayerUpdates& updates(std::size_t index) const { return updates_[index]; }
  double scale(std::size_t index) const { return scales_[index]; }

  /// The inputs of the next concept, by site.
  void add(const SiteGrams& grams);

  /// The fused update of every layer as a plain LoRA of scale 1; appends to the report.
  concepts::LayerUpdates solve(FusionReport& report) const;

 private:
  struct Site {
    std::int64_t in_features = 0;
    std::vector<std::string> layers;
    std::vector<std::size_t> stored;  ///< Where each concept's own moments are in store_.
  };

  void observe(const std::string& name, const nn::LoraLayer& layer);
  /// Decides which of these convolutions are observed.
  void choose_patch_readers(std::vector<std::pair<std::string, const nn::LoraLayer*>> layers);
  void average(concepts::LayerUpdates& fused, FusionReport& report) const;

  LowRankUpdate update_of(std::size_t index, const std::string& layer) const;
  torch::Tensor prior_of(const std::string& layer) const;  ///< stack_i(prior_share · down_i)
  InputGram total_of(const Site& site) const;              ///< Sum of the concepts' moments.
  /// Solutions of one site's layers, and the ridge that they took.
  struct Solved {
    std::map<std::string, torch::Tensor> updates;  ///< M of ΔW = up · M, by layer.
    double ridge = 0.0;
    std::int64_t rows = 0;
  };
  Solved solve_site(const std::string& name, const Site& site) const;
  void report_site(const Site& site, const Solved& solved, FusionReport& report) const;

  std::vector<concepts::LayerUpdates> updates_;
  std::vector<double> scales_;
  StageOptions options_;
  LayerNames layers_;
  LayerNames averaged_;
  std::map<std::string, Site> sites_;
  std::map<std::string, LayerWish> wishes_;
  std::map<std::string, std::vector<std::int64_t>> shapes_;  ///< Of the weights, of all layers.
  GramStore store_;
};

/// An update in float32 for a layer with a weight of this shape ([O,I] or [O,channels,k,k]).
concepts::LowRank plain_lora(const LowRankUpdate& update, torch::IntArrayRef weight_shape);

/// ΔW of `pair` times merge_scale, the factors in `down` and float64.
LowRankUpdate scaled_update(const concepts::LowRank& pair, double merge_scale);

}  // namespace mos::fuse
