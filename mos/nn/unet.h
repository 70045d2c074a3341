#pragma once

#include <torch/nn/module.h>
#include <torch/nn/pimpl.h>
#include <torch/types.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "mos/nn/conditioning.h"
#include "mos/nn/unet_config.h"
#include "mos/nn/unet_encoder.h"

namespace mos::nn {

/// Features that adapters and ControlNet add to the U-Net, each undefined or empty when unused.
struct UNetResiduals {
  std::vector<torch::Tensor> adapter;       ///< T2I-Adapter: one per down block.
  std::vector<torch::Tensor> control_down;  ///< ControlNet: one per skip connection.
  torch::Tensor control_mid;                ///< ControlNet: after the mid block.
};

struct UNetUpBlock;

/// diffusers' `UNet2DConditionModel` of the Stable Diffusion 1.x / 2.x family.
class UNet2DConditionModelImpl : public torch::nn::Module {
 public:
  explicit UNet2DConditionModelImpl(const UNetConfig& config);

  /// sample [B,in,H,W], timesteps [B] int64 (or [1], for all), text for B pictures, or one for
  /// every r neighbours -> [B,out,H,W] in sample's dtype. Any H and W; sizes that are no multiple
  /// of the total downscale work as in diffusers. Calls may run beside each other in several
  /// threads as long as no processor or LoRA is changed meanwhile.
  torch::Tensor forward(const torch::Tensor& sample, const torch::Tensor& timesteps,
                        const Conditioning& text, const UNetResiduals& residuals = {});

  /// Every cross-attention layer in the order down blocks, mid block, up blocks.
  std::int64_t cross_attention_count() const {
    return static_cast<std::int64_t>(cross_attentions_.size());
  }
  /// Which text of a layer-wise prompt each of them reads; at first there is one for each.
  const TextSlices& text_slices() const { return text_slices_; }
  void set_text_slices(TextSlices slices);
  const std::vector<Attention>& cross_attentions() const { return cross_attentions_; }
  /// The dotted name of each of them, in the same order.
  std::vector<std::string> cross_attention_names() const;
  /// Every self-attention layer, in the order of modules.
  std::vector<Attention> self_attentions() const;
  const UNetConfig& config() const { return config_; }

 private:
  void build_up();

  UNetConfig config_;
  UNetEncoder encoder_;
  Conv2d conv_out_{nullptr};
  GroupNorm conv_norm_out_{nullptr};
  std::vector<std::shared_ptr<UNetUpBlock>> up_;
  std::vector<Attention> cross_attentions_;
  TextSlices text_slices_;
};
TORCH_MODULE(UNet2DConditionModel);

}  // namespace mos::nn
