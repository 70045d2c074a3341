#pragma once

#include <torch/nn/module.h>
#include <torch/nn/pimpl.h>
#include <torch/types.h>

#include "mos/nn/ops.h"

namespace mos::nn {

/// GroupNorm with an optional SiLU behind it. Parameters: weight, bias.
class GroupNormImpl : public torch::nn::Module {
 public:
  GroupNormImpl(std::int64_t groups, std::int64_t channels, double eps);
  /// x [B,C,H,W] -> the same shape.
  torch::Tensor forward(const torch::Tensor& x, Activation activation = Activation::kNone);

  torch::Tensor weight, bias;

 private:
  std::int64_t groups_;
  double eps_;
};
TORCH_MODULE(GroupNorm);

/// LayerNorm over the last dimension. Parameters: weight, bias.
class LayerNormImpl : public torch::nn::Module {
 public:
  LayerNormImpl(std::int64_t features, double eps);
  torch::Tensor forward(const torch::Tensor& x);

  torch::Tensor weight, bias;

 private:
  double eps_;
};
TORCH_MODULE(LayerNorm);

}  // namespace mos::nn
