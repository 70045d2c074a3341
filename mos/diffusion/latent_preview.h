#pragma once

#include <torch/types.h>

#include "mos/nn/vae.h"

namespace mos::diffusion {

/// A linear map of scaled latents to colours: a small picture of what a step has made, at no cost
/// beside the VAE's decoder.
struct LatentColours {
  torch::Tensor weights;  ///< [3,C] float32 on the CPU
  torch::Tensor bias;     ///< [3]

  /// uint8 [h,w,3], a pixel for each position, of latents [1,C,h,w] or [C,h,w].
  torch::Tensor picture(const torch::Tensor& latents) const;
};

/// Fitted to a decoder by least squares, on smooth random latents: the same for the same weights.
/// One run of the decoder on 32 × 32 latents.
LatentColours fit_latent_colours(const nn::AutoencoderKL& vae);

}  // namespace mos::diffusion
