#include "mos/concepts/lora.h"

#include <fmt/core.h>

#include <map>
#include <set>

#include "mos/base/counted.h"
#include "mos/base/error.h"
#include "mos/base/text.h"
#include "mos/concepts/lora_collector.h"
#include "mos/diffusion/model.h"
#include "mos/io/finite.h"
#include "mos/io/state_dict.h"

namespace mos::concepts {

using checkpoint::Part;

namespace {

bool fits(const nn::LoraLayer& layer, const LayerUpdate& update) {
  const bool has_bias = layer.bias.defined() || !update.bias_difference().defined();
  return has_bias && update.fits(layer.weight.sizes());
}

std::string misfit_text(const nn::LoraLayer& layer, const LayerUpdate& update) {
  const bool lacks_bias = update.bias_difference().defined() && !layer.bias.defined();
  return fmt::format("{}, layer is {}{}", update.shapes(), io::shape_text(layer.weight.sizes()),
                     lacks_bias ? " without a bias" : "");
}

/// Finite numbers may have an infinite product, or one that the layer's dtype cannot hold.
[[noreturn]] void refuse_merged(const std::string& origin, const std::string& layer,
                                torch::ScalarType dtype) {
  throw Error(ErrorKind::kMismatch,
              fmt::format("with {} the layer {} holds NaN or infinity: its numbers there, or the "
                          "factors on them, are too large for {}; try smaller factors, or fetch "
                          "the file again",
                          origin, layer, torch::toString(dtype)));
}

void check_merged(const torch::Tensor& merged, const std::string& origin,
                  const std::string& layer) {
  if (!io::is_finite(merged)) refuse_merged(origin, layer, merged.scalar_type());
}

/// b + merge_scale · Δb in float32.
torch::Tensor merged_bias(const nn::LoraLayer& layer, const torch::Tensor& change,
                          double merge_scale) {
  return layer.bias.detach().to(torch::kFloat32) + merge_scale * change.to(layer.bias.device());
}

}  // namespace

/// In the order of `updates`. All that is wrong is told at once: a LoRA of another family fails in
/// hundreds of layers.
std::vector<nn::LoraLayer*> find_layers(torch::nn::Module& model, const LayerUpdates& updates,
                                        const std::string& origin) {
  std::map<std::string, nn::LoraLayer*> by_name;
  nn::for_each_lora_layer(
      model, [&](const std::string& name, nn::LoraLayer& layer) { by_name[name] = &layer; });
  std::vector<nn::LoraLayer*> layers;
  std::vector<std::string> wrong;
  for (const auto& [name, update] : updates) {
    const auto found = by_name.find(name);
    if (found == by_name.end()) {
      wrong.push_back(name + " (no such layer)");
    } else if (!fits(*found->second, update)) {
      wrong.push_back(fmt::format("{} ({})", name, misfit_text(*found->second, update)));
    } else {
      layers.push_back(found->second);
    }
  }
  if (!wrong.empty()) {
    throw Error(ErrorKind::kMismatch,
                fmt::format("{} does not fit this base model: {} of its {} {} wrong: {}; use the "
                            "base model it was tuned on",
                            origin, wrong.size(), counted(updates.size(), "LoRA layer"),
                            wrong.size() == 1 ? "is" : "are", listed(wrong)));
  }
  return layers;
}

torch::Tensor with_dims_of(const torch::Tensor& weight, const torch::Tensor& factor) {
  if (factor.dim() == weight.dim()) return factor;
  // Files keep factors of 1×1 convolutions flat or with both sides, as their trainer had them.
  return weight.dim() == 4 ? factor.unsqueeze(-1).unsqueeze(-1) : factor.flatten(1);
}

void leave_out_absent_layers(torch::nn::Module& model, Part network, LayerUpdates& updates,
                             KeyReport& keys) {
  std::set<std::string> known;
  nn::for_each_lora_layer(
      model, [&](const std::string& name, const nn::LoraLayer&) { known.insert(name); });
  std::set<std::string> absent;
  std::erase_if(updates, [&](const auto& entry) {
    if (known.contains(entry.first)) return false;
    absent.insert(layer_target(network, entry.first));
    return true;
  });
  keys.reject(absent);
}

void leave_out_other_shapes(torch::nn::Module& model, Part network, LayerUpdates& updates,
                            KeyReport& keys) {
  std::map<std::string, std::string> misfits;
  nn::for_each_lora_layer(model, [&](const std::string& name, const nn::LoraLayer& layer) {
    const auto found = updates.find(name);
    if (found == updates.end() || fits(layer, found->second)) return;
    misfits[layer_target(network, name)] = misfit_text(layer, found->second);
    updates.erase(found);
  });
  keys.misfit(misfits);
}

void attach_lora(torch::nn::Module& model, const LayerUpdates& updates, double merge_scale,
                 const std::string& origin) {
  const auto layers = find_layers(model, updates, origin);
  std::size_t i = 0;
  for (const auto& [name, update] : updates) {
    auto& layer = *layers[i++];
    const auto& pair = update.low_rank();
    layer.attach_lora(with_dims_of(layer.weight, pair.down), with_dims_of(layer.weight, pair.up));
    layer.lora_scale = pair.scale * merge_scale;
  }
}

void detach_lora(torch::nn::Module& model) {
  nn::for_each_lora_layer(model,
                          [](const std::string&, nn::LoraLayer& layer) { layer.detach_lora(); });
}

void merge_lora(torch::nn::Module& model, const LayerUpdates& updates, double merge_scale,
                const std::string& origin) {
  const auto layers = find_layers(model, updates, origin);
  torch::NoGradGuard no_grad;
  std::size_t i = 0;
  for (const auto& [name, update] : updates) {
    auto& layer = *layers[i++];
    // In place: others may hold the tensor (an optimiser, a network that shares weights).
    layer.weight.copy_(update.apply_to(layer.weight, merge_scale));
    const auto bias = update.bias_difference();
    if (bias.defined()) layer.bias.copy_(merged_bias(layer, bias, merge_scale));
    check_merged(layer.weight, origin, name);
    if (bias.defined()) check_merged(layer.bias, origin, name);
  }
}

void merge_concept(diffusion::Model& model, const ConceptDelta& delta, double merge_scale,
                   const std::string& origin) {
  for (const auto& [part, updates] : delta.updates) {
    merge_lora(*model.network(part), updates, merge_scale, origin);
  }
}

namespace {

/// Those that change the layer `name`, for messages.
std::string changers_of(const std::string& name, std::span<const ScaledLora> loras) {
  std::vector<std::string> origins;
  for (const auto& lora : loras) {
    if (lora.updates->contains(name)) origins.push_back(lora.origin);
  }
  return listed(origins);
}

/// Neurons that several concepts silence are 0 once: what `update` leaves of `weight`, of which
/// `silent` [numel] has been taken away already.
void silence(const LayerUpdate& update, double scale, const torch::Tensor& before,
             torch::Tensor& silent, torch::Tensor& weight) {
  const auto share = update.difference(torch::ones_like(before, torch::kFloat32), -scale);
  if (!silent.defined()) silent = torch::zeros_like(share);
  const auto all = torch::maximum(silent, share);
  weight -= (all - silent) * before.to(torch::kFloat32);
  silent = all;
}

/// Sums what all of `loras` change in one layer.
void merge_layer(const std::string& name, nn::LoraLayer& layer, std::span<const ScaledLora> loras,
                 torch::ScalarType dtype) {
  torch::Tensor weight, bias, silent;
  for (const auto& lora : loras) {
    const auto found = lora.updates->find(name);
    if (found == lora.updates->end()) continue;
    // Summed in float32 and rounded once: of ten concepts in bfloat16 the small ones would be lost.
    if (!weight.defined()) weight = layer.weight.to(torch::kFloat32, false, /*copy=*/true);
    if (found->second.silences()) {
      silence(found->second, lora.merge_scale, layer.weight, silent, weight);
    } else {
      weight += found->second.difference(layer.weight, lora.merge_scale);
    }
    const auto change = found->second.bias_difference();
    if (!change.defined()) continue;
    if (!bias.defined()) bias = layer.bias.to(torch::kFloat32, false, /*copy=*/true);
    bias += lora.merge_scale * change.to(bias.device());
  }
  // set_data keeps the parameter: whoever has it sees the new weights.
  if (weight.defined()) layer.weight.set_data(weight.to(dtype));
  if (bias.defined()) layer.bias.set_data(bias.to(dtype));
  const auto is_sound = [](const torch::Tensor& changed, const torch::Tensor& held) {
    return !changed.defined() || io::is_finite(held);
  };
  if (is_sound(weight, layer.weight) && is_sound(bias, layer.bias)) return;
  refuse_merged(changers_of(name, loras), name, dtype);
}

}  // namespace

void merge_loras(torch::nn::Module& model, std::span<const ScaledLora> loras,
                 torch::ScalarType dtype) {
  torch::NoGradGuard no_grad;
  for (const auto& lora : loras) find_layers(model, *lora.updates, lora.origin);  // all, or none
  nn::for_each_lora_layer(model, [&](const std::string& name, nn::LoraLayer& layer) {
    merge_layer(name, layer, loras, dtype);
  });
}

ScopedMerge::ScopedMerge(torch::nn::Module& model, const LayerUpdates& updates, double merge_scale,
                         const std::string& origin) {
  const auto layers = find_layers(model, updates, origin);
  std::vector<Former> merged;
  std::size_t i = 0;
  for (const auto& [name, update] : updates) {
    auto& layer = *layers[i++];
    merged.push_back({&layer, update.apply_to(layer.weight, merge_scale), {}});
    check_merged(merged.back().weight, origin, name);
    const auto bias = update.bias_difference();
    if (!bias.defined()) continue;
    merged.back().bias = merged_bias(layer, bias, merge_scale);
    check_merged(merged.back().bias, origin, name);
  }
  for (const auto& [layer, weight, bias] : merged) {  // all, or none
    // A handle, no copy: the former tensor waits until the scope ends.
    former_.push_back({layer, layer->weight.detach(), {}});
    layer->weight.set_data(weight);
    if (!bias.defined()) continue;
    former_.back().bias = layer->bias.detach();
    layer->bias.set_data(bias);
  }
}

ScopedMerge::~ScopedMerge() {
  for (const auto& former : former_) {
    former.layer->weight.set_data(former.weight);
    if (former.bias.defined()) former.layer->bias.set_data(former.bias);
  }
}

LayerUpdates filter(const LayerUpdates& updates,
                    const std::function<bool(const std::string&)>& wanted) {
  LayerUpdates kept;
  for (const auto& [name, update] : updates) {
    if (wanted(name)) kept.emplace(name, update);
  }
  return kept;
}

}  // namespace mos::concepts
