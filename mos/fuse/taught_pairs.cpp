#include "mos/fuse/taught_pairs.h"

#include <algorithm>
#include <utility>

#include "mos/concepts/lora.h"
#include "mos/nn/linear.h"

namespace mos::fuse {

using concepts::LayerUpdates;
using torch::Tensor;

SplitUpdates::SplitUpdates(const LayerUpdates& updates, torch::Device device) {
  for (const auto& [layer, update] : updates) {
    const auto pair = update.as_pair();
    if (!pair || !update.changes_weight()) {
      rest.emplace(layer, update);
      continue;
    }
    const auto copied = [&](const Tensor& factor) {
      return factor.detach().to(device, torch::kFloat32, /*non_blocking=*/false, /*copy=*/true);
    };
    pairs.emplace(layer,
                  concepts::LowRank{
                      .down = copied(pair->down), .up = copied(pair->up), .scale = pair->scale});
    if (const auto bias = update.bias_difference(); bias.defined()) {
      rest.emplace(layer, concepts::Dense{.parts = {{concepts::LoraPart::kBiasDifference, bias}}});
    }
  }
}

LayerUpdates SplitUpdates::put_back(LayerUpdates updates) const {
  for (const auto& [layer, trained] : pairs) {
    auto pair = trained.low_rank();
    pair.down = pair.down.detach().cpu();
    pair.up = pair.up.detach().cpu();
    updates.at(layer) = with_bias(std::move(pair), updates.at(layer).bias_difference());
  }
  return updates;
}

bool SplitUpdates::all_zero() const {
  return std::ranges::all_of(pairs, [](const auto& entry) {
    const auto& pair = entry.second.low_rank();
    return pair.down.count_nonzero().template item<std::int64_t>() == 0 &&
           pair.up.count_nonzero().template item<std::int64_t>() == 0;
  });
}

TaughtPairs::TaughtPairs(nn::UNet2DConditionModel unet, const LayerUpdates& pairs,
                         torch::ScalarType dtype)
    : unet_(std::move(unet)), frozen_(*unet_, dtype) {
  concepts::attach_lora(*unet_, pairs, 1.0, "the fused update");
  nn::use_engine(*unet_, nn::Engine::kFused);
}

TaughtPairs::~TaughtPairs() {
  nn::use_engine(*unet_, nn::Engine::kLibTorch);
  concepts::detach_lora(*unet_);
}

std::vector<train::ParameterGroup> TaughtPairs::groups(double relative_rate) {
  std::vector<train::ParameterGroup> result;
  nn::for_each_lora_layer(*unet_, [&](const std::string& name, nn::LoraLayer& layer) {
    if (!layer.has_lora()) return;
    for (const auto& factor : {layer.lora_down()->weight, layer.lora_up()->weight}) {
      const auto size = factor.detach().square().mean().sqrt().item<double>();
      result.push_back({.parameters = {{name, factor}}, .rate = relative_rate * size});
    }
  });
  return result;
}

}  // namespace mos::fuse
