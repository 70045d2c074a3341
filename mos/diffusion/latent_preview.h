#pragma once

#include <torch/types.h>

#include "mos/base/json.h"
#include "mos/diffusion/model.h"
#include "mos/nn/vae.h"

namespace mos::diffusion {

/// A linear map of scaled latents to colours: a small picture of what a step has made, at no cost
/// beside the VAE's decoder.
struct LatentColours {
  torch::Tensor weights;  ///< [3,C] float32 on the CPU
  torch::Tensor bias;     ///< [3]

  /// uint8 [h,w,3], a pixel for each position, of latents [1,C,h,w] or [C,h,w].
  torch::Tensor picture(const torch::Tensor& latents) const;

  /// {"weights": [[R, G, B] of each channel], "bias": [R, G, B]}.
  Json to_json() const;
  /// Throws mos::Error(kFormat) naming `origin` unless it is such a map for `channels`.
  static LatentColours from_json(const Json& json, std::int64_t channels,
                                 const std::string& origin);
};

/// Fitted to a decoder by least squares, on smooth random latents: the same for the same weights.
/// One run of the decoder on 32 × 32 latents.
LatentColours fit_latent_colours(const nn::AutoencoderKL& vae);

/// Those that lie beside the model's VAE (vae/latent_colours.json); for the VAE of Stable Diffusion
/// 1.x and 2.x what is known of it; else they are fitted. Throws as LatentColours::from_json.
LatentColours latent_colours_of(const Model& model);

}  // namespace mos::diffusion
