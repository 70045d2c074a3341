#pragma once

#include <torch/nn/module.h>
#include <torch/nn/modules/container/modulelist.h>
#include <torch/nn/pimpl.h>
#include <torch/types.h>

#include <cstdint>
#include <vector>

#include "mos/nn/attention.h"
#include "mos/nn/linear.h"
#include "mos/nn/norm.h"

namespace mos::nn {

/// Two linear layers with a gated GELU between. Parameters: net.0.proj, net.2.
class FeedForwardImpl : public torch::nn::Module {
 public:
  explicit FeedForwardImpl(std::int64_t features);
  /// `residual` of x's shape is added.
  torch::Tensor forward(const torch::Tensor& x, const torch::Tensor& residual);

 private:
  Linear proj_{nullptr}, out_{nullptr};
};
TORCH_MODULE(FeedForward);

/// Self-attention, cross-attention, feed-forward, each behind a LayerNorm and with a residual.
class BasicTransformerBlockImpl : public torch::nn::Module {
 public:
  explicit BasicTransformerBlockImpl(const AttentionSize& size);
  /// x [B,N,C], context [B,S,C'] or [B,L,S,C'] -> [B,N,C].
  torch::Tensor forward(torch::Tensor x, const torch::Tensor& context);

  Attention attn1{nullptr}, attn2{nullptr};

 private:
  LayerNorm norm1_{nullptr}, norm2_{nullptr}, norm3_{nullptr};
  FeedForward ff_{nullptr};
};
TORCH_MODULE(BasicTransformerBlock);

enum class Projection { kConvolution, kLinear };

struct Transformer2DSize {
  AttentionSize attention;
  std::int64_t depth = 1;  ///< Transformer blocks.
  std::int64_t norm_groups = 32;
  Projection projection = Projection::kConvolution;
};

/// Transformer over the pixels of a feature map, diffusers' `Transformer2DModel`.
class Transformer2DModelImpl : public torch::nn::Module {
 public:
  explicit Transformer2DModelImpl(const Transformer2DSize& size);
  /// x [B,C,H,W] -> the same shape.
  torch::Tensor forward(const torch::Tensor& x, const torch::Tensor& context);

  std::vector<BasicTransformerBlock> blocks;

 private:
  bool linear_projection_;
  GroupNorm norm_{nullptr};
  Linear linear_in_{nullptr}, linear_out_{nullptr};
  Conv2d conv_in_{nullptr}, conv_out_{nullptr};
};
TORCH_MODULE(Transformer2DModel);

}  // namespace mos::nn
