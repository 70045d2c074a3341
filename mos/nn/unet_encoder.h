#pragma once

#include <torch/nn/module.h>
#include <torch/nn/modules/container/modulelist.h>
#include <torch/types.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "mos/nn/conditioning.h"
#include "mos/nn/resnet.h"
#include "mos/nn/transformer_2d.h"
#include "mos/nn/unet_config.h"

namespace mos::nn {

/// Registers `layers` as `name.0`, `name.1`, … of `owner`; nothing when there are none.
template <typename T>
void register_list(torch::nn::Module& owner, const std::string& name,
                   const std::vector<T>& layers) {
  if (layers.empty()) return;
  auto list = owner.register_module(name, torch::nn::ModuleList());
  for (const auto& layer : layers) list->push_back(layer);
}

struct UNetDownBlock;

/// The half of a U-Net that ControlNet has a copy of: time embedding, down blocks and mid block.
/// Its layers are registered in the module that owns it, under diffusers' names.
class UNetEncoder {
 public:
  /// Registers conv_in, time_embedding and down_blocks.
  UNetEncoder(torch::nn::Module& owner, const UNetConfig& config);
  /// Registers mid_block, which diffusers' U-Net has behind its up blocks.
  void register_mid(torch::nn::Module& owner);

  /// timesteps [B] or [1] -> [B,T] for the resnets, in the dtype of `sample`.
  torch::Tensor embed_time(const torch::Tensor& timesteps, const torch::Tensor& sample);
  /// sample [B,in,H,W] -> [B,C,H,W]
  torch::Tensor embed_sample(const torch::Tensor& sample);

  /// Runs the down blocks on `x` from embed_sample and appends every state that the up blocks read
  /// to `skips`, `x` itself first. `adapter` has a T2I-Adapter's features, or is empty.
  torch::Tensor down(torch::Tensor x, const torch::Tensor& time, const torch::Tensor& context,
                     const std::vector<torch::Tensor>& adapter, std::vector<torch::Tensor>& skips);
  torch::Tensor mid(torch::Tensor x, const torch::Tensor& time, const torch::Tensor& context);

  /// Cross-attention layers of the down blocks, then of the mid block.
  std::vector<Attention> cross_attentions() const;

 private:
  void build_down(torch::nn::Module& owner, std::int64_t time_channels);

  UNetConfig config_;
  Linear time_linear1_{nullptr}, time_linear2_{nullptr};
  Conv2d conv_in_{nullptr};
  std::vector<std::shared_ptr<UNetDownBlock>> down_;
  std::vector<ResnetBlock2D> mid_resnets_;
  Transformer2DModel mid_attention_{nullptr};
};

/// Width T of the time embedding.
std::int64_t time_channels_of(const UNetConfig& config);

/// The transformer of `level`, counted from the finest.
Transformer2DModel make_transformer(const UNetConfig& config, std::size_t level);

/// Appends the cross-attention layers of `transformer`.
void collect_cross_attentions(const Transformer2DModel& transformer,
                              std::vector<Attention>& layers);

/// Numbers the layers from 0 on in this order, and tells each which text it reads.
void number_cross_attentions(const std::vector<Attention>& layers, const TextSlices& slices);

}  // namespace mos::nn
