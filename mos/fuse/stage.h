#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "mos/concepts/lora.h"
#include "mos/fuse/capture.h"
#include "mos/fuse/capture_again.h"
#include "mos/fuse/gram_store.h"
#include "mos/fuse/method.h"
#include "mos/fuse/report.h"

namespace mos::fuse {

/// What the concepts bring to a stage.
struct StageConcepts {
  checkpoint::Part part = checkpoint::Part::kUNet;  ///< The network of all layers.
  LayerKind kind = LayerKind::kUNet;
  std::vector<concepts::LayerUpdates> updates;  ///< By concept.
  std::vector<double> scales;                   ///< By concept, merge_scale.
};

/// How the layers of a stage are merged.
struct Merging {
  const MergeMethod* method = nullptr;
  std::string name;             ///< The method's, for the report.
  std::vector<double> weights;  ///< By concept, see concept_weights().
  /// By concept, its share of what is changed in biases, which have no method of their own.
  std::vector<double> bias_shares;
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

  checkpoint::Part part() const { return concepts_.part; }
  LayerKind kind() const { return concepts_.kind; }
  /// As reports have it: cross_attention, or the folder of the network.
  std::string name() const;
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
  /// Those of concept `index` once more, on what was merged from the ones before.
  void set_again(std::size_t index, const SitePairs& pairs);
  /// Text features of ordinary captions.
  void set_captions(InputGram captions) { captions_ = std::move(captions); }

  /// The merged update of every layer, a plain LoRA of scale 1 or a full difference, as the method
  /// has it; appends to the report, if there is one. A layer without the inputs that the method
  /// needs is merged by weights (Eq. 2). `on_layer` is called after each.
  concepts::LayerUpdates solve(FusionReport* report, const std::function<void()>& on_layer) const;

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
  /// What all concepts together change in the bias, float32 [O]; undefined if none does.
  torch::Tensor bias_of(const std::string& layer) const;
  /// As files and networks have it; nothing where all stays as it is.
  std::optional<concepts::LayerUpdate> written(const std::string& layer,
                                               const Update& merged) const;
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
  std::optional<InputGram> captions_;
};

}  // namespace mos::fuse
