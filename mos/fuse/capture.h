#pragma once

#include <torch/types.h>

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "mos/base/progress.h"
#include "mos/concepts/tokens.h"
#include "mos/diffusion/denoise.h"
#include "mos/diffusion/model.h"
#include "mos/diffusion/scheduler.h"
#include "mos/fuse/gram.h"
#include "mos/fuse/text_fit.h"

/// What every fused layer sees of one concept: the three places where the paper records inputs.
namespace mos::fuse {

/// The place where a layer reads its input, e.g. `….attn1.to_qkv` for `….attn1.to_k`: layers with
/// one site always have the same input, so one Gram matrix serves them all.
std::string input_site(std::string_view layer);

/// Whether this layer of a U-Net makes keys or values from text.
bool reads_text(std::string_view unet_layer);

using LayerNames = std::set<std::string>;
using SiteGrams = std::map<std::string, InputGram>;  ///< By input_site.

/// One layer for each site of `layers` in `model`, which sees what all layers of the site see.
/// Throws mos::Error(kMismatch) if the model lacks one of the layers.
std::map<std::string, nn::LoraLayer*> observed_sites(torch::nn::Module& model,
                                                     const LayerNames& layers);

/// Of the inputs of a layer of the U-Net, those of the prompt. With guidance the same pictures go
/// through the network with the empty prompt, too: there no concept is shown, and what one wants of
/// a layer then stands against what all others want of the same input.
class PromptsHalf {
 public:
  /// What comes next is of `call`.
  void expect(const diffusion::NetworkCall& call) {
    pictures_ = call.has_both_halves ? call.input.size(0) / 2 : 0;
  }
  /// Aliases `input` [B or 2B,…].
  torch::Tensor of(const torch::Tensor& input) const {
    return pictures_ == 0 ? input : input.narrow(0, pictures_, pictures_);
  }

 private:
  std::int64_t pictures_ = 0;  ///< Of the half; 0: there is but one.
};

/// Records the inputs of `layers` of `model` during its life.
/// Throws mos::Error(kMismatch) if the model lacks one of them.
class InputRecorder {
 public:
  /// Beside the moments, about `kept_rows` rows of each site's inputs are kept.
  InputRecorder(torch::nn::Module& model, const LayerNames& layers, std::int64_t kept_rows = 0);
  ~InputRecorder();
  InputRecorder(const InputRecorder&) = delete;
  InputRecorder& operator=(const InputRecorder&) = delete;

  /// Of this call of the U-Net the prompt's half is recorded alone.
  void expect(const diffusion::NetworkCall& call) { half_.expect(call); }

  const SiteGrams& grams() const { return grams_; }

 private:
  PromptsHalf half_;
  SiteGrams grams_;
  std::vector<nn::LoraLayer*> observed_;
};

/// How to show a concept to the networks.
struct ConceptPrompts {
  std::vector<std::string> prompts;  ///< With the concept's words in them.
  TextFit fit = TextFit::kWords;
  /// Plain words that stand for a concept without words of its own, as in the prompts: keys and
  /// values are fitted at their tokens instead.
  std::string trigger = {};
  /// Keys and values are fitted at all places from the first such word to the end token.
  bool words_to_end = false;
  std::int64_t kept_rows = 0;  ///< See InputRecorder.
};

/// Throws mos::Error(kUsage) for a prompt that is longer than the text encoder reads.
void check_length(const diffusion::TextTower& tower, const concepts::ConceptTokens& tokens,
                  const std::string& prompt);

/// All L texts of each prompt through a text encoder, for those who watch its layers.
void run_tower(const diffusion::TextTower& tower, const concepts::ConceptTokens& tokens,
               const ConceptPrompts& shown);

/// Stage 1: inputs of text-encoder layers, for all L texts of each prompt. The encoder holds what
/// it shall be recorded with.
SiteGrams capture_tower(const diffusion::TextTower& tower, const concepts::ConceptTokens& tokens,
                        const ConceptPrompts& shown, const LayerNames& layers);

/// Stage 2: the text features that the key and value layers of each cross-attention read, from the
/// text encoder as it is; layer l gets the texts with row l. No U-Net runs.
/// Throws mos::Error(kUsage) if a prompt lacks the trigger words.
SiteGrams capture_cross_attention(const diffusion::Model& model,
                                  const concepts::ConceptTokens& tokens,
                                  const ConceptPrompts& shown, const LayerNames& layers);

/// Text features of plain texts, which hold no concept's words, as cross-attention reads them from
/// the text encoder as it is: of each from the first word to the end token, without padding and as
/// far as the text encoder reads.
InputGram capture_captions(const diffusion::Model& model, std::span<const std::string> captions);

struct SamplingRun {
  std::string prompt;
  torch::Tensor noise;  ///< [n,C,h,w]
  std::int64_t steps = 20;
  /// Above 1 the network is asked with the empty prompt, too, of which nothing is recorded.
  double guidance_scale = 1.0;
  /// Of the U-Net's arithmetic; empty: as its weights are.
  std::optional<torch::ScalarType> dtype;
  std::int64_t kept_rows = 0;  ///< See InputRecorder.
  std::int64_t at_once = 1;    ///< Pictures that go through the network together.
};

/// What happens beside the sampling.
struct SamplingHooks {
  diffusion::PredictCallback predict;            ///< Empty: one run of the network a step.
  diffusion::ResidualCallback before_step;       ///< What it returns is added to the U-Net.
  std::function<void(std::int64_t)> after_step;  ///< Gets steps done, over all sampling.
  const CancelToken* cancel = nullptr;
};

/// What it samples with, DPM-Solver++ as the model's noise schedule has it.
std::unique_ptr<diffusion::Scheduler> sampler_of(const diffusion::Model& model);

/// Samples with sampler_of(model): finished latents [n,C,h,w]. Throws kCancelled.
torch::Tensor sample_latents(const diffusion::Model& model, const concepts::ConceptTokens& tokens,
                             const SamplingRun& run, const SamplingHooks& hooks);

struct SampledInputs {
  SiteGrams grams;
  torch::Tensor latents;  ///< [n,C,h,w], the finished latents.
};

/// Stage 3: inputs of U-Net layers at every step of sample_latents().
SampledInputs capture_unet(const diffusion::Model& model, const concepts::ConceptTokens& tokens,
                           const SamplingRun& run, const LayerNames& layers,
                           const SamplingHooks& hooks = {});

}  // namespace mos::fuse
