#pragma once

#include <torch/types.h>

#include <string>
#include <vector>

#include "mos/diffusion/noise_schedule.h"
#include "mos/nn/unet.h"
#include "mos/tune/attached_concept.h"
#include "mos/tune/attention_loss.h"
#include "mos/tune/options.h"

/// What tuning makes small: the masked denoising error and the attention regularisation.
namespace mos::tune {

/// All that is drawn for one batch of B pictures.
struct TuneBatch {
  torch::Tensor latents;    ///< [B,C,h,w] float32, scaled.
  torch::Tensor noise;      ///< [B,C,h,w] float32, offset included.
  torch::Tensor timesteps;  ///< [B] int64.
  std::vector<std::string> prompts;
  torch::Tensor picture_masks;    ///< [B,1,h,w] float32: where the canvas is covered.
  torch::Tensor subject_masks;    ///< [B,1,h,w] float32: the subject, zero where there is no mask.
  torch::Tensor weights;          ///< [B] float32: of each error in the loss; undefined: all 1.
  std::vector<bool> has_subject;  ///< Whether a picture has a mask that selects something here.
};

/// The pictures from `from` on, `count` of them; tensors are aliased.
TuneBatch part_of(const TuneBatch& batch, std::int64_t from, std::int64_t count);

/// The pictures of both, those of `prior` with this weight and those of `own` with 1.
TuneBatch with_prior(const TuneBatch& own, const TuneBatch& prior, double weight);

/// Mean over the batch of weight · Σ mask · (prediction − target)² / Σ mask; the inner sums run
/// over channels and positions, as in the authors' code (so one pixel of weight counts all its
/// channels). prediction, target [B,C,h,w], mask [B,1,h,w], weights [B] or undefined (1); returns a
/// float32 scalar.
torch::Tensor masked_loss(const torch::Tensor& prediction, const torch::Tensor& target,
                          const torch::Tensor& mask, const torch::Tensor& weights = {});

/// Where the first two concept words stand in those prompts that have both and a subject mask.
WordColumns find_word_columns(const AttachedConcept& attached, const TuneBatch& batch);

/// The terms of the loss, with gradients towards what `attached` trains.
struct TuningTerms {
  torch::Tensor denoising;  ///< masked_loss, a float32 scalar.
  AttentionMaps attention;  ///< Empty where the loss does not look at it.
};

/// `text` is in the dtype to compute in.
TuningTerms tuning_terms(AttachedConcept& attached, const diffusion::NoiseSchedule& schedule,
                         const TuneBatch& batch, const nn::Conditioning& text,
                         const LossOptions& options);

/// The weighted attention regularisation, a float32 scalar.
torch::Tensor weighted_attention_loss(const AttentionMaps& maps, const LossOptions& options);

}  // namespace mos::tune
