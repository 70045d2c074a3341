#include "mos/fuse/dense_sources.h"

#include <algorithm>
#include <map>
#include <string>

#include "mos/concepts/lora.h"

namespace mos::fuse {

using concepts::Dense;
using concepts::LayerUpdates;
using concepts::LoraPart;
using torch::Tensor;

namespace {

using Layers = std::map<std::string, nn::LoraLayer*>;

Layers layers_of(torch::nn::Module& network) {
  Layers layers;
  nn::for_each_lora_layer(
      network, [&](const std::string& name, nn::LoraLayer& layer) { layers[name] = &layer; });
  return layers;
}

/// What all concepts together change in one layer's bias, [O]; undefined if none does.
Tensor fused_bias(const std::string& layer, const std::vector<const LayerUpdates*>& sources,
                  std::span<const double> shares) {
  Tensor sum;
  for (std::size_t i = 0; i < sources.size(); ++i) {
    const auto found = sources[i]->find(layer);
    if (found == sources[i]->end()) continue;
    const auto change = found->second.bias_difference();
    if (!change.defined()) continue;
    const auto share = shares[i] * change;
    sum = sum.defined() ? sum + share : share;
  }
  return sum;
}

/// One network's part of finish_dense; `shares` include merge scales.
void finish_network(torch::nn::Module& network, const std::vector<const LayerUpdates*>& sources,
                    std::span<const double> shares, LayerUpdates& fused) {
  const torch::NoGradGuard no_grad;
  const auto layers = layers_of(network);
  for (auto& [name, update] : fused) {
    const bool is_dense = std::any_of(sources.begin(), sources.end(), [&](const auto* source) {
      const auto found = source->find(name);
      return found != source->end() && !found->second.as_pair();
    });
    const auto bias = fused_bias(name, sources, shares);
    if (!is_dense && !bias.defined()) continue;
    auto& layer = *layers.at(name);
    Dense whole{.parts = {{LoraPart::kDifference, update.difference(layer.weight).cpu()}}};
    if (bias.defined()) {
      whole.parts[LoraPart::kBiasDifference] = bias;
      layer.bias.copy_(layer.bias.to(torch::kFloat32) + bias.to(layer.bias.device()));
    }
    update = std::move(whole);
  }
}

}  // namespace

void finish_dense(diffusion::StableDiffusion& model, const std::vector<ConceptSource>& sources,
                  std::span<const double> shares, concepts::ConceptDelta& fused) {
  std::vector<const LayerUpdates*> text, unet;
  std::vector<double> text_shares, unet_shares;
  for (std::size_t i = 0; i < sources.size(); ++i) {
    text.push_back(&sources[i].delta.text_encoder);
    unet.push_back(&sources[i].delta.unet);
    text_shares.push_back(shares[i] * sources[i].text_encoder_scale);
    unet_shares.push_back(shares[i] * sources[i].unet_scale);
  }
  finish_network(*model.text_encoder, text, text_shares, fused.text_encoder);
  finish_network(*model.unet, unet, unet_shares, fused.unet);
}

}  // namespace mos::fuse
