#pragma once

#include <torch/nn/module.h>

#include <deque>
#include <map>
#include <string>
#include <vector>

#include "mos/concepts/lora.h"
#include "mos/fuse/capture.h"
#include "mos/fuse/inputs.h"

/// Inputs of every fused layer once more, as the merged model sees them, beside what the concept's
/// own weights saw in the same place (IterIS, CVPR 2025).

namespace mos::fuse {

using SitePairs = std::map<std::string, PairedMoments>;  ///< By input_site.

/// Records the inputs of `layers` of `model` during its life, each twice: for every forward as the
/// concept has its weights there is one as they are merged, with the same rows. The first ones are
/// held until the second ones come, so the two best take turns.
/// Throws mos::Error(kMismatch) if the model lacks one of the layers.
class PairRecorder {
 public:
  PairRecorder(torch::nn::Module& model, const LayerNames& layers);
  ~PairRecorder();
  PairRecorder(const PairRecorder&) = delete;
  PairRecorder& operator=(const PairRecorder&) = delete;

  /// Of this call of the U-Net, in both states, the prompt's half is recorded alone.
  void expect(const diffusion::NetworkCall& call) { half_.expect(call); }
  void expect_own() { state_ = State::kOwn; }        ///< X comes from now on,
  void expect_merged() { state_ = State::kMerged; }  ///< or X̃.

  /// Of all pairs so far.
  SitePairs pairs() const;

 private:
  enum class State { kOwn, kMerged };
  struct Site {
    std::deque<torch::Tensor> own, merged;  ///< [n,I] float64, those that wait for their twin.
    PairedMoments sums;
  };
  void take(Site& site, const torch::Tensor& input);

  State state_ = State::kOwn;
  PromptsHalf half_;
  std::map<std::string, Site> sites_;
  std::vector<nn::LoraLayer*> observed_;
};

/// What a network that knows no concept becomes: a concept's own, and merged so far.
struct TwoStates {
  concepts::ScaledLora own;
  concepts::ScaledLora merged;
};

/// Stage 1 once more: the same prompts through the encoder in both states.
SitePairs capture_tower_again(const diffusion::TextTower& tower,
                              const concepts::ConceptTokens& tokens, const ConceptPrompts& shown,
                              const TwoStates& states, const LayerNames& layers);

/// Stage 3 once more: the concept is painted in its own state, and at every step the merged one is
/// asked about the same latents.
SitePairs capture_unet_again(const diffusion::Model& model, const concepts::ConceptTokens& tokens,
                             const SamplingRun& run, const TwoStates& states,
                             const LayerNames& layers, const SamplingHooks& hooks = {});

}  // namespace mos::fuse
