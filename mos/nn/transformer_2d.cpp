#include "mos/nn/transformer_2d.h"

#include "mos/nn/ops.h"

namespace mos::nn {

using torch::Tensor;
using torch::nn::ModuleList;

namespace {

constexpr double kLayerNormEps = 1e-5;
constexpr double kTransformerGroupNormEps = 1e-6;  // diffusers: Transformer2DModel.norm
constexpr std::int64_t kFeedForwardFactor = 4;

/// Gives the gate's linear layer its key `net.0.proj`.
class GegluImpl : public torch::nn::Module {
 public:
  explicit GegluImpl(const Linear& proj) { register_module("proj", proj); }
};

}  // namespace

FeedForwardImpl::FeedForwardImpl(std::int64_t features) {
  const auto inner = features * kFeedForwardFactor;
  proj_ = Linear(features, 2 * inner);
  out_ = Linear(inner, features);
  auto net = register_module("net", ModuleList());
  // The names of these indices are keys of files.
  net->push_back(std::make_shared<GegluImpl>(proj_));
  net->push_back(std::make_shared<torch::nn::Module>());  // index 1 is diffusers' dropout
  net->push_back(out_);
}

Tensor FeedForwardImpl::forward(const Tensor& x, const Tensor& residual) {
  return out_->forward(geglu(proj_(x)), residual);
}

BasicTransformerBlockImpl::BasicTransformerBlockImpl(const AttentionSize& size) {
  auto self_size = size;
  // attn1 is self-attention.
  self_size.cross_attention_dim.reset();
  norm1_ = register_module("norm1", LayerNorm(size.query_dim, kLayerNormEps));
  attn1 = register_module("attn1", Attention(self_size));
  norm2_ = register_module("norm2", LayerNorm(size.query_dim, kLayerNormEps));
  attn2 = register_module("attn2", Attention(size));
  norm3_ = register_module("norm3", LayerNorm(size.query_dim, kLayerNormEps));
  ff_ = register_module("ff", FeedForward(size.query_dim));
}

Tensor BasicTransformerBlockImpl::forward(Tensor x, const Tensor& context) {
  x = attn1->forward(norm1_(x), {}, x);
  x = attn2->forward(norm2_(x), context, x);
  return ff_->forward(norm3_(x), x);
}

Transformer2DModelImpl::Transformer2DModelImpl(const Transformer2DSize& size)
    : linear_projection_(size.projection == Projection::kLinear) {
  const auto channels = size.attention.query_dim;
  norm_ = register_module("norm", GroupNorm(size.norm_groups, channels, kTransformerGroupNormEps));
  if (linear_projection_) {
    linear_in_ = register_module("proj_in", Linear(channels, channels));
  } else {
    conv_in_ = register_module("proj_in", conv1x1(channels, channels));
  }
  auto list = register_module("transformer_blocks", ModuleList());
  for (std::int64_t i = 0; i < size.depth; ++i) {
    blocks.emplace_back(size.attention);
    list->push_back(blocks.back());
  }
  if (linear_projection_) {
    linear_out_ = register_module("proj_out", Linear(channels, channels));
  } else {
    conv_out_ = register_module("proj_out", conv1x1(channels, channels));
  }
}

Tensor Transformer2DModelImpl::forward(const Tensor& x, const Tensor& context) {
  const auto height = x.size(2), width = x.size(3);
  auto y = norm_(x);
  if (!linear_projection_) y = conv_in_(y);
  // A view for channels-last features, so the rows cost nothing.
  y = y.permute({0, 2, 3, 1}).flatten(1, 2);  // [B,N,C]
  if (linear_projection_) y = linear_in_(y);
  for (auto& block : blocks) y = block(y, context);
  if (linear_projection_) y = linear_out_(y);
  y = y.unflatten(1, {height, width}).permute({0, 3, 1, 2});  // [B,C,H,W]
  if (!linear_projection_) y = conv_out_(y);
  return y + x;
}

}  // namespace mos::nn
