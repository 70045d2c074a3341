#include "mos/pretrain/initialise.h"

#include <torch/nn/module.h>

#include <array>
#include <cmath>
#include <string_view>

#include "mos/nn/linear.h"
#include "mos/nn/norm.h"

namespace mos::pretrain {
namespace {

constexpr std::array<std::string_view, 4> kBranchEnds = {"conv2", "to_out.0", "ff.net.2",
                                                         "proj_out"};

/// A residual branch that begins as zero leaves its network the identity, which trains without
/// warming up (as ControlNet's zero convolutions).
bool ends_branch(std::string_view name) {
  for (const auto end : kBranchEnds) {
    if (name.ends_with(end)) return true;
  }
  return false;
}

double fan_in(const nn::LoraLayer& layer) {
  return static_cast<double>(layer.weight.numel() / layer.weight.size(0));
}

template <typename Norm>
bool reset_norm(torch::nn::Module& module) {
  auto* norm = dynamic_cast<Norm*>(&module);
  if (norm == nullptr) return false;
  norm->weight.fill_(1.0);
  norm->bias.zero_();
  return true;
}

}  // namespace

void initialise_network(torch::nn::Module& network, at::Generator& generator, bool zero_output) {
  const torch::NoGradGuard no_grad;
  for (const auto& item : network.named_modules(std::string(), /*include_self=*/false)) {
    auto& module = *item.value();
    if (reset_norm<nn::GroupNormImpl>(module) || reset_norm<nn::LayerNormImpl>(module)) continue;
    auto* layer = dynamic_cast<nn::LoraLayer*>(&module);
    if (layer == nullptr) continue;
    // PyTorch's own default for both kinds of layers, which ours leave uninitialised.
    const double bound = 1.0 / std::sqrt(fan_in(*layer));
    layer->weight.uniform_(-bound, bound, generator);
    if (layer->bias.defined()) layer->bias.uniform_(-bound, bound, generator);
    if (ends_branch(item.key()) || (zero_output && item.key() == "conv_out")) {
      layer->weight.zero_();
      if (layer->bias.defined()) layer->bias.zero_();
    }
  }
}

void initialise_clip(torch::nn::Module& clip, at::Generator& generator) {
  const torch::NoGradGuard no_grad;
  constexpr double kEmbeddingDeviation = 0.02;
  constexpr double kTemperature = 0.07;
  for (auto& parameter : clip.parameters()) parameter.normal_(0.0, kEmbeddingDeviation, generator);
  for (const auto& item : clip.named_modules(std::string(), /*include_self=*/false)) {
    auto& module = *item.value();
    if (reset_norm<nn::LayerNormImpl>(module)) continue;
    auto* layer = dynamic_cast<nn::LoraLayer*>(&module);
    if (layer == nullptr) continue;
    // Half of what keeps variances: twelve residual layers add up.
    layer->weight.normal_(0.0, 0.5 / std::sqrt(fan_in(*layer)), generator);
    if (layer->bias.defined()) layer->bias.zero_();
  }
  for (auto& item : clip.named_parameters()) {
    if (item.key() == "logit_scale") item.value().fill_(std::log(1.0 / kTemperature));
  }
}

}  // namespace mos::pretrain
