#pragma once

#include <torch/nn/module.h>
#include <torch/nn/pimpl.h>
#include <torch/types.h>

#include <cstdint>

#include "mos/nn/clip.h"
#include "mos/nn/linear.h"
#include "mos/nn/unet.h"

namespace mos::pretrain {

/// Alignment of a U-Net's feature with the image tower's patches of the same picture without noise
/// (REPA, arXiv 2410.06940): the positions of the second level are the patches of the tower. The
/// projection between them is trained along and is no part of the base.
class AlignmentImpl : public torch::nn::Module {
 public:
  /// Observes the transformer of the second level of `unet`, which must outlive this object. Throws
  /// kUsage when there is none.
  AlignmentImpl(nn::UNet2DConditionModel& unet, std::int64_t tower_width);

  /// 1 − the mean cosine between the projected features of the last forward pass, [B,P,C], and
  /// `patches` [B,P,tower_width].
  torch::Tensor loss(const torch::Tensor& patches);

 private:
  nn::Linear project_{nullptr};
  torch::Tensor seen_;
};
TORCH_MODULE(Alignment);

/// The image tower's patches of pictures [B,3,H,W] in −1…1: [B,P,C]. Keeps no gradients.
torch::Tensor tower_patches(nn::CLIPModel& towers, const torch::Tensor& pictures);

}  // namespace mos::pretrain
