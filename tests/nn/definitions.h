#pragma once

#include <torch/nn/module.h>
#include <torch/types.h>

#include <cmath>
#include <limits>
#include <map>
#include <string>
#include <vector>

#include "mos/base/random.h"

/// The layers of diffusers and transformers as their papers define them, in float64, on the
/// parameters of a module by their names in files: what our blocks are compared with.
namespace mos::nn::test {

using torch::Tensor;

/// Random weights of a size that keeps activations where they are.
inline void randomise(torch::nn::Module& module, std::uint64_t seed) {
  const torch::NoGradGuard no_grad;
  auto generator = seeded_generator(seed);
  for (auto& weight : module.parameters()) {
    const auto inputs = weight.dim() < 2 ? 25 : weight.numel() / weight.size(0);
    weight.copy_(randn(weight.sizes(), generator) / std::sqrt(static_cast<double>(inputs)));
    if (weight.dim() == 1) weight.add_(1.0);
  }
}

/// A module's parameters in float64.
class Weights {
 public:
  explicit Weights(const torch::nn::Module& module) {
    for (const auto& item : module.named_parameters()) {
      weights_[item.key()] = item.value().detach().to(torch::kFloat64);
    }
  }

  /// Undefined where there is none.
  Tensor optional(const std::string& name) const {
    const auto found = weights_.find(name);
    return found == weights_.end() ? Tensor() : found->second;
  }
  const Tensor& at(const std::string& name) const { return weights_.at(name); }

 private:
  std::map<std::string, Tensor> weights_;
};

inline Tensor linear(const Weights& weights, const std::string& name, const Tensor& x) {
  const auto y = x.matmul(weights.at(name + ".weight").t());
  const auto bias = weights.optional(name + ".bias");
  return bias.defined() ? y + bias : y;
}

inline Tensor convolution(const Weights& weights, const std::string& name, const Tensor& x,
                          std::int64_t padding, std::int64_t stride = 1) {
  return at::conv2d(x, weights.at(name + ".weight"), weights.optional(name + ".bias"), stride,
                    padding);
}

/// Wu and He 2018, equation 7.
inline Tensor group_norm(const Weights& weights, const std::string& name, const Tensor& x,
                         std::int64_t groups, double eps) {
  const auto grouped = x.reshape({x.size(0), groups, -1});
  const auto centred = grouped - grouped.mean(2, /*keepdim=*/true);
  const auto deviation = (centred.square().mean(2, /*keepdim=*/true) + eps).sqrt();
  const auto channel = [&](const char* which) {
    return weights.at(name + which).view({1, -1, 1, 1});
  };
  return (centred / deviation).reshape(x.sizes()) * channel(".weight") + channel(".bias");
}

inline Tensor layer_norm(const Weights& weights, const std::string& name, const Tensor& x,
                         double eps) {
  const auto centred = x - x.mean(-1, /*keepdim=*/true);
  const auto deviation = (centred.square().mean(-1, /*keepdim=*/true) + eps).sqrt();
  return centred / deviation * weights.at(name + ".weight") + weights.at(name + ".bias");
}

// Called by their qualified names: ATen's are found for tensors otherwise.
inline Tensor silu(const Tensor& x) { return x / (1.0 + (-x).exp()); }

inline Tensor gelu(const Tensor& x) { return x * 0.5 * (1.0 + (x / std::sqrt(2.0)).erf()); }

enum class Sees { kAll, kEarlier };

/// Vaswani et al. 2017, section 3.2, one head after the other: q [B,N,heads·D], k and v
/// [B,M,heads·D].
inline Tensor attend(const Tensor& q, const Tensor& k, const Tensor& v, std::int64_t heads,
                     Sees sees = Sees::kAll) {
  const auto width = q.size(2) / heads;
  std::vector<Tensor> mixed;
  for (std::int64_t head = 0; head < heads; ++head) {
    const auto part = [&](const Tensor& x) { return x.slice(2, head * width, (head + 1) * width); };
    auto scores = part(q).matmul(part(k).transpose(1, 2)) / std::sqrt(static_cast<double>(width));
    if (sees == Sees::kEarlier) {
      scores = scores + torch::full({q.size(1), k.size(1)},
                                    -std::numeric_limits<double>::infinity(), torch::kFloat64)
                            .triu(1);
    }
    mixed.push_back(at::softmax(scores, -1).matmul(part(v)));
  }
  return torch::cat(mixed, 2);
}

/// diffusers' `Attention`; an undefined `context` is self-attention.
inline Tensor attention_layer(const Weights& weights, const std::string& name, const Tensor& x,
                              const Tensor& context, std::int64_t heads) {
  const auto& source = context.defined() ? context : x;
  return linear(weights, name + "to_out.0",
                attend(linear(weights, name + "to_q", x), linear(weights, name + "to_k", source),
                       linear(weights, name + "to_v", source), heads));
}

/// diffusers' `ResnetBlock2D`; `time` is the activated embedding or undefined.
inline Tensor resnet(const Weights& weights, const std::string& name, const Tensor& x,
                     std::int64_t groups, double eps, const Tensor& time = {}) {
  auto y = test::silu(group_norm(weights, name + "norm1", x, groups, eps));
  y = convolution(weights, name + "conv1", y, 1);
  if (time.defined()) {
    y = y + linear(weights, name + "time_emb_proj", time).unsqueeze(-1).unsqueeze(-1);
  }
  y = test::silu(group_norm(weights, name + "norm2", y, groups, eps));
  y = convolution(weights, name + "conv2", y, 1);
  const bool changes_width = weights.optional(name + "conv_shortcut.weight").defined();
  return y + (changes_width ? convolution(weights, name + "conv_shortcut", x, 0) : x);
}

/// diffusers' `BasicTransformerBlock`.
inline Tensor transformer_block(const Weights& weights, const std::string& name, Tensor x,
                                const Tensor& context, std::int64_t heads) {
  const auto norm = [&](const char* which) { return layer_norm(weights, name + which, x, 1e-5); };
  x = x + attention_layer(weights, name + "attn1.", norm("norm1"), {}, heads);
  x = x + attention_layer(weights, name + "attn2.", norm("norm2"), context, heads);
  const auto gated = linear(weights, name + "ff.net.0.proj", norm("norm3")).chunk(2, -1);
  return x + linear(weights, name + "ff.net.2", gated[0] * test::gelu(gated[1]));
}

/// diffusers' `Transformer2DModel` of one block between convolutions.
inline Tensor transformer(const Weights& weights, const std::string& name, const Tensor& x,
                          const Tensor& context, std::int64_t heads, std::int64_t groups) {
  auto y = group_norm(weights, name + "norm", x, groups, 1e-6);
  y = convolution(weights, name + "proj_in", y, 0).flatten(2).transpose(1, 2);
  y = transformer_block(weights, name + "transformer_blocks.0.", y, context, heads);
  y = y.transpose(1, 2).reshape(x.sizes());
  return x + convolution(weights, name + "proj_out", y, 0);
}

}  // namespace mos::nn::test
