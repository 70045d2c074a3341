#include "mos/concepts/lora.h"

#include <fmt/core.h>

#include <map>
#include <set>

#include "mos/base/error.h"
#include "mos/base/text.h"
#include "mos/concepts/lora_file.h"
#include "mos/io/state_dict.h"

namespace mos::concepts {

namespace {

/// Files may store the factors of a 1×1 convolution flat, or those of a linear layer as 1×1.
bool fits(const nn::LoraLayer& layer, const LoraPair& pair) {
  return layer.in_features() == pair.down.numel() / pair.rank() &&
         layer.out_features() == pair.up.size(0);
}

std::string misfit_text(const nn::LoraLayer& layer, const LoraPair& pair) {
  return fmt::format("LoRA down {} and up {}, layer is {}", io::shape_text(pair.down.sizes()),
                     io::shape_text(pair.up.sizes()), io::shape_text(layer.weight.sizes()));
}

/// `factor` [n,…] with as many dimensions as the layer's weight.
torch::Tensor with_dims_of(const torch::Tensor& weight, const torch::Tensor& factor) {
  if (factor.dim() == weight.dim()) return factor;
  return weight.dim() == 4 ? factor.unsqueeze(-1).unsqueeze(-1) : factor.flatten(1);
}

/// ΔW in float32 with the shape of the layer's weight, where that is.
torch::Tensor update_of(const nn::LoraLayer& layer, const LoraPair& pair) {
  return lora_update(pair).view(layer.weight.sizes()).to(layer.weight.device());
}

/// W + merge_scale · ΔW in float32.
torch::Tensor merged_weight(const nn::LoraLayer& layer, const LoraPair& pair, double merge_scale) {
  return layer.weight.detach().to(torch::kFloat32) + merge_scale * update_of(layer, pair);
}

}  // namespace

std::vector<nn::LoraLayer*> find_layers(torch::nn::Module& model, const LoraPairs& pairs,
                                        const std::string& origin) {
  std::map<std::string, nn::LoraLayer*> by_name;
  nn::for_each_lora_layer(
      model, [&](const std::string& name, nn::LoraLayer& layer) { by_name[name] = &layer; });
  std::vector<nn::LoraLayer*> layers;
  std::vector<std::string> wrong;
  for (const auto& [name, pair] : pairs) {
    const auto found = by_name.find(name);
    if (found == by_name.end()) {
      wrong.push_back(name + " (no such layer)");
    } else if (!fits(*found->second, pair)) {
      wrong.push_back(fmt::format("{} ({})", name, misfit_text(*found->second, pair)));
    } else {
      layers.push_back(found->second);
    }
  }
  if (!wrong.empty()) {
    throw Error(ErrorKind::kMismatch,
                fmt::format("{} does not fit this base model: {} of its {} LoRA layers are wrong: "
                            "{}; use the base model it was tuned on",
                            origin, wrong.size(), pairs.size(), listed(wrong)));
  }
  return layers;
}

void leave_out_absent_layers(torch::nn::Module& model, Network network, LoraPairs& pairs,
                             KeyReport& keys) {
  std::set<std::string> known;
  nn::for_each_lora_layer(
      model, [&](const std::string& name, const nn::LoraLayer&) { known.insert(name); });
  std::erase_if(pairs, [&](const auto& entry) {
    if (known.contains(entry.first)) return false;
    keys.reject(layer_target(network, entry.first));
    return true;
  });
}

void leave_out_other_shapes(torch::nn::Module& model, Network network, LoraPairs& pairs,
                            KeyReport& keys) {
  nn::for_each_lora_layer(model, [&](const std::string& name, const nn::LoraLayer& layer) {
    const auto found = pairs.find(name);
    if (found == pairs.end() || fits(layer, found->second)) return;
    keys.misfit(layer_target(network, name), misfit_text(layer, found->second));
    pairs.erase(found);
  });
}

void attach_lora(torch::nn::Module& model, const LoraPairs& pairs, double merge_scale,
                 const std::string& origin) {
  const auto layers = find_layers(model, pairs, origin);
  std::size_t i = 0;
  for (const auto& [name, pair] : pairs) {
    auto& layer = *layers[i++];
    layer.attach_lora(with_dims_of(layer.weight, pair.down), with_dims_of(layer.weight, pair.up));
    layer.lora_scale = pair.scale * merge_scale;
  }
}

void detach_lora(torch::nn::Module& model) {
  nn::for_each_lora_layer(model,
                          [](const std::string&, nn::LoraLayer& layer) { layer.detach_lora(); });
}

void set_lora_scale(torch::nn::Module& model, double scale) {
  nn::for_each_lora_layer(
      model, [scale](const std::string&, nn::LoraLayer& layer) { layer.lora_scale = scale; });
}

void merge_lora(torch::nn::Module& model, const LoraPairs& pairs, double merge_scale,
                const std::string& origin) {
  const auto layers = find_layers(model, pairs, origin);
  torch::NoGradGuard no_grad;
  std::size_t i = 0;
  for (const auto& [name, pair] : pairs) {
    auto& layer = *layers[i++];
    layer.weight.copy_(merged_weight(layer, pair, merge_scale));
  }
}

void merge_loras(torch::nn::Module& model, std::span<const ScaledLora> loras,
                 torch::ScalarType dtype) {
  torch::NoGradGuard no_grad;
  for (const auto& lora : loras) find_layers(model, *lora.pairs, lora.origin);  // all fit, or none
  nn::for_each_lora_layer(model, [&](const std::string& name, nn::LoraLayer& layer) {
    torch::Tensor sum;
    for (const auto& lora : loras) {
      const auto found = lora.pairs->find(name);
      if (found == lora.pairs->end()) continue;
      if (!sum.defined()) sum = layer.weight.to(torch::kFloat32, false, /*copy=*/true);
      sum += lora.merge_scale * update_of(layer, found->second);
    }
    if (sum.defined()) layer.weight.set_data(sum.to(dtype));
  });
}

ScopedMerge::ScopedMerge(torch::nn::Module& model, const LoraPairs& pairs, double merge_scale,
                         const std::string& origin)
    : layers_(find_layers(model, pairs, origin)) {
  std::size_t i = 0;
  for (const auto& [name, pair] : pairs) {
    auto& weight = layers_[i]->weight;
    former_.push_back(weight.detach());
    weight.set_data(merged_weight(*layers_[i++], pair, merge_scale));
  }
}

ScopedMerge::~ScopedMerge() {
  for (std::size_t i = 0; i < layers_.size(); ++i) layers_[i]->weight.set_data(former_[i]);
}

LoraPairs filter(const LoraPairs& pairs, const std::function<bool(const std::string&)>& wanted) {
  LoraPairs kept;
  for (const auto& [name, pair] : pairs) {
    if (wanted(name)) kept.emplace(name, pair);
  }
  return kept;
}

}  // namespace mos::concepts
