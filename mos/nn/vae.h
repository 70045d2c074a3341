#pragma once

#include <torch/nn/module.h>
#include <torch/nn/pimpl.h>
#include <torch/types.h>

#include <cstdint>
#include <vector>

#include "mos/base/json.h"
#include "mos/nn/linear.h"

namespace mos::nn {

/// The part of an `AutoencoderKL` config.json that changes the network.
struct VaeConfig {
  std::int64_t in_channels = 3;
  std::int64_t out_channels = 3;
  std::int64_t latent_channels = 4;
  std::vector<std::int64_t> block_out_channels = {128, 256, 512, 512};
  std::int64_t layers_per_block = 2;
  std::int64_t norm_num_groups = 32;
  double scaling_factor = 0.18215;

  /// Pixels for each latent position along one side.
  std::int64_t downscale() const { return std::int64_t{1} << (block_out_channels.size() - 1); }

  /// Throws kFormat on impossible values and on blocks that we do not build.
  static VaeConfig from_json(const Json& config);
};

/// What the encoder knows of a picture: a diagonal Gaussian over unscaled latents.
struct LatentDistribution {
  torch::Tensor mean;    ///< [B,latent,H/f,W/f]
  torch::Tensor logvar;  ///< The same shape, clamped to [-30, 20] as in diffusers.

  torch::Tensor std() const { return torch::exp(0.5 * logvar); }
};

class VaeEncoderImpl;
class VaeDecoderImpl;

/// diffusers' `AutoencoderKL`. Works on unscaled latents: callers multiply by scaling_factor.
class AutoencoderKLImpl : public torch::nn::Module {
 public:
  explicit AutoencoderKLImpl(const VaeConfig& config);

  /// pictures [B,3,H,W] in [-1,1], H and W multiples of downscale().
  LatentDistribution encode(const torch::Tensor& pictures);
  /// The 2·latent channels that encode() splits: [B,2·latent,H/f,W/f].
  torch::Tensor moments(const torch::Tensor& pictures);
  /// latents [B,latent,h,w] -> pictures [B,3,f·h,f·w], not clamped.
  torch::Tensor decode(const torch::Tensor& latents);

  const VaeConfig& config() const { return config_; }

 private:
  VaeConfig config_;
  std::shared_ptr<VaeEncoderImpl> encoder_;
  std::shared_ptr<VaeDecoderImpl> decoder_;
  Conv2d quant_conv_{nullptr}, post_quant_conv_{nullptr};
};
TORCH_MODULE(AutoencoderKL);

}  // namespace mos::nn
