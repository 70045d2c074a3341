#pragma once

#include <torch/nn/module.h>
#include <torch/nn/pimpl.h>
#include <torch/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "mos/base/json.h"
#include "mos/nn/resnet.h"
#include "mos/nn/transformer_2d.h"

namespace mos::nn {

/// The part of a `UNet2DConditionModel` config.json that changes the network.
struct UNetConfig {
  std::int64_t in_channels = 4;
  std::int64_t out_channels = 4;
  std::int64_t sample_size = 64;  ///< Latent side the model was trained at.
  std::vector<std::int64_t> block_out_channels = {320, 640, 1280, 1280};
  std::vector<std::int64_t> layers_per_block = {2, 2, 2, 2};
  std::vector<bool> down_has_attention = {true, true, true, false};
  std::vector<bool> up_has_attention = {false, true, true, true};
  std::vector<std::int64_t> heads = {8, 8, 8, 8};  ///< Attention heads of each level.
  std::vector<std::int64_t> transformer_depth = {1, 1, 1, 1};
  std::int64_t cross_attention_dim = 768;  ///< Text width C.
  std::int64_t norm_num_groups = 32;
  double norm_eps = 1e-5;
  bool use_linear_projection = false;
  bool flip_sin_to_cos = true;
  double freq_shift = 0.0;

  /// Throws kFormat on impossible values and on switches of diffusers that we do not build, by
  /// name.
  static UNetConfig from_json(const Json& config);
};

/// Features that adapters and ControlNet add to the U-Net, each undefined or empty when unused.
struct UNetResiduals {
  std::vector<torch::Tensor> adapter;       ///< T2I-Adapter: one per down block.
  std::vector<torch::Tensor> control_down;  ///< ControlNet: one per skip connection.
  torch::Tensor control_mid;                ///< ControlNet: after the mid block.
};

/// Sinusoidal embedding of timesteps [B] -> [B,channels] float32 (diffusers `Timesteps`).
torch::Tensor timestep_embedding(const torch::Tensor& timesteps, std::int64_t channels,
                                 const UNetConfig& config);

struct UNetDownBlock;
struct UNetUpBlock;

/// diffusers' `UNet2DConditionModel` of the Stable Diffusion 1.x / 2.x family.
class UNet2DConditionModelImpl : public torch::nn::Module {
 public:
  explicit UNet2DConditionModelImpl(const UNetConfig& config);

  /// sample [B,in,H,W], timesteps [B] int64 (or [1], for all), context [B,S,C] or [B,L,S,C]
  /// -> [B,out,H,W] in sample's dtype. Any H and W; sizes that are no multiple of the total
  /// downscale work as in diffusers.
  torch::Tensor forward(const torch::Tensor& sample, const torch::Tensor& timesteps,
                        const torch::Tensor& context, const UNetResiduals& residuals = {});

  /// L: every cross-attention layer in the order down blocks, mid block, up blocks.
  std::int64_t cross_attention_count() const {
    return static_cast<std::int64_t>(cross_attentions_.size());
  }
  const std::vector<Attention>& cross_attentions() const { return cross_attentions_; }
  /// The dotted name of each of them, in the same order.
  std::vector<std::string> cross_attention_names() const;
  const UNetConfig& config() const { return config_; }

 private:
  void build_down(std::int64_t time_channels);
  void build_mid(std::int64_t time_channels);
  void build_up(std::int64_t time_channels);
  Transformer2DModel make_transformer(std::size_t level) const;
  void number_cross_attentions();

  UNetConfig config_;
  Linear time_linear1_{nullptr}, time_linear2_{nullptr};
  Conv2d conv_in_{nullptr}, conv_out_{nullptr};
  GroupNorm conv_norm_out_{nullptr};
  std::vector<std::shared_ptr<UNetDownBlock>> down_;
  std::vector<ResnetBlock2D> mid_resnets_;
  Transformer2DModel mid_attention_{nullptr};
  std::vector<std::shared_ptr<UNetUpBlock>> up_;
  std::vector<Attention> cross_attentions_;
};
TORCH_MODULE(UNet2DConditionModel);

}  // namespace mos::nn
