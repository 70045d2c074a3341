#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "mos/concepts/lora.h"
#include "mos/fuse/capture.h"
#include "mos/fuse/gram_store.h"
#include "mos/fuse/method.h"
#include "mos/fuse/report.h"

namespace mos::fuse {

/// What the concepts bring to a stage.
struct StageConcepts {
  LayerKind kind = LayerKind::kUNet;
  std::vector<concepts::LayerUpdates> updates;  ///< By concept.
  std::vector<double> scales;                   ///< By concept, merge_scale.
};

/// How the layers of a stage are merged.
struct Merging {
  const MergeMethod* method = nullptr;
  std::string name;             ///< The method's, for the report.
  std::vector<double> weights;  ///< By concept, see concept_weights().
  /// For the moments of convolutions that read patches, whose side is channels·k·k: the smallest
  /// ones that fit in here are recorded.
  std::int64_t patch_memory_bytes = 0;
};

/// One stage of fusion: some layers of one network, for all concepts. It collects what the method
/// asks for and keeps what the method finds. Concepts are added one after the other; their moments
/// wait in a file, so what stays in memory is the result.
class FusionStage {
 public:
  /// A layer takes part if any concept has it. Refers to `network` and to the method.
  FusionStage(torch::nn::Module& network, StageConcepts concepts, Merging merging);

  LayerKind kind() const { return concepts_.kind; }
  bool empty() const { return layers_.empty(); }
  std::size_t layer_count() const { return layers_.size(); }
  /// Layers whose inputs are to be recorded; none if the method needs none.
  const LayerNames& recorded() const { return recorded_; }
  /// Convolutions that are not, as their moments need more memory than there is.
  const LayerNames& beyond_memory() const { return beyond_memory_; }
  const concepts::LayerUpdates& updates(std::size_t index) const {
    return concepts_.updates[index];
  }
  double scale(std::size_t index) const { return concepts_.scales[index]; }

  /// The inputs of the next concept, by site.
  void add(const SiteGrams& grams);

  /// The merged update of every layer as a plain LoRA of scale 1; appends to the report. A layer
  /// without the inputs that the method needs is merged by weights (Eq. 2). `on_layer` is called
  /// after each.
  concepts::LayerUpdates solve(FusionReport& report, const std::function<void()>& on_layer) const;

 private:
  struct Site {
    SiteInputs inputs;
    std::vector<std::string> layers;
  };
  struct Solution {
    Merged merged;
    std::string method;
  };
  using Solutions = std::map<std::string, Solution>;

  void record(const std::string& name, const nn::LoraLayer& layer);
  void record_patch_readers(std::vector<std::pair<std::string, const nn::LoraLayer*>> layers);
  Update update_of(std::size_t index, const std::string& layer) const;
  Solution solve_layer(const std::string& layer, const SiteInputs* inputs) const;
  /// With how well each concept is served, if `site` knows their inputs.
  std::vector<LayerReport> reports_of(const Solutions& solutions, const Site* site) const;

  StageConcepts concepts_;
  Merging merging_;
  std::map<std::string, const nn::LoraLayer*> layers_;
  LayerNames recorded_;
  LayerNames beyond_memory_;
  GramStore store_;
  std::map<std::string, Site> sites_;
};

/// As reports name it: text_encoder, cross_attention or unet.
const char* stage_name(LayerKind kind);

/// An update in float32 for a layer with a weight of this shape ([O,I] or [O,channels,k,k]).
concepts::LowRank plain_lora(const Update& update, torch::IntArrayRef weight_shape);

/// merge_scale · ΔW for a layer with this weight, on which it depends with DoRA alone.
Update scaled_update(const concepts::LayerUpdate& update, double merge_scale,
                     const torch::Tensor& weight);

}  // namespace mos::fuse
