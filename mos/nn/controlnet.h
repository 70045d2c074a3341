#pragma once

#include <torch/nn/module.h>
#include <torch/nn/pimpl.h>
#include <torch/types.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "mos/base/json.h"
#include "mos/nn/unet.h"

namespace mos::nn {

/// The config.json of a diffusers `ControlNetModel`.
struct ControlNetConfig {
  UNetConfig unet;  ///< Of the U-Net whose encoder it copies.
  std::int64_t conditioning_channels = 3;
  /// Of the layers that bring the picture to the size of the latents: one halving less than there
  /// are numbers.
  std::vector<std::int64_t> conditioning_embedding_out_channels = {16, 32, 96, 256};

  /// It was trained on pictures with blue first: their channels are turned around.
  bool reads_bgr = false;
  /// What it adds is the same at every position: the mean (shuffle of ControlNet 1.1).
  bool global_pool_conditions = false;

  /// Pixels for each latent position along one side.
  std::int64_t downscale() const {
    return std::int64_t{1} << (conditioning_embedding_out_channels.size() - 1);
  }

  /// Throws kFormat on impossible values and on switches of diffusers that we do not build, by
  /// name.
  static ControlNetConfig from_json(const Json& config);
};

/// What ControlNet adds: `down` to the skip connections, `mid` behind the mid block.
struct ControlNetOutput {
  std::vector<torch::Tensor> down;  ///< One for each skip connection.
  torch::Tensor mid;
};

/// diffusers' `ControlNetModel` (arXiv 2302.05543): a copy of the U-Net's encoder that also sees a
/// condition picture, behind 1×1 convolutions that start at zero.
/// Parameters: those of the encoder, controlnet_cond_embedding.*, controlnet_down_blocks.N and
/// controlnet_mid_block.
class ControlNetModelImpl : public torch::nn::Module {
 public:
  explicit ControlNetModelImpl(const ControlNetConfig& config);

  /// picture [B,channels,H,W] in 0…1 -> [B,C,h,w] at latent size; the same at every step.
  torch::Tensor embed_picture(const torch::Tensor& picture);

  /// sample [B,in,h,w], timesteps [B] or [1], text as the U-Net's, whose first layers these are;
  /// picture from embed_picture, [B or 1,C,h,w]. Not scaled.
  ControlNetOutput forward(const torch::Tensor& sample, const torch::Tensor& timesteps,
                           const Conditioning& text, const torch::Tensor& picture);

  const ControlNetConfig& config() const { return config_; }

 private:
  void build_picture_embedding();
  void build_zero_convolutions();

  ControlNetConfig config_;
  UNetEncoder encoder_;
  Conv2d picture_in_{nullptr}, picture_out_{nullptr}, zero_mid_{nullptr};
  std::vector<Conv2d> picture_blocks_, zero_down_;
  std::int64_t cross_attentions_ = 0;
};
TORCH_MODULE(ControlNetModel);

/// Factors on the residuals of `count` skip connections and, last, of the mid block: `scale`; in
/// guess mode rising from 0.1 to 1 in equal ratios (diffusers: logspace(-1, 0)) times that.
std::vector<double> control_scales(std::size_t count, double scale, bool guess_mode);

}  // namespace mos::nn
