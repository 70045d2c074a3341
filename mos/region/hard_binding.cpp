#include "mos/region/hard_binding.h"

#include <utility>

#include "mos/region/attention_observer.h"
#include "mos/region/region_mask.h"
#include "mos/region/region_shares.h"

namespace mos::region {

using torch::Tensor;

namespace {

Tensor cut(const Tensor& x, const FeatureBox& box) {
  return x.slice(2, box.top, box.bottom).slice(3, box.left, box.right);
}

/// The region's text [2 or 1,…] for the halves of `call`.
nn::Conditioning text_for(const Tensor& context, const diffusion::NetworkCall& call) {
  const bool both = call.has_both_halves;
  const auto wanted = both ? context : context.slice(0, context.size(0) - 1);
  return wanted.repeat_interleave(call.input.size(0) / wanted.size(0), 0).to(call.input.options());
}

class HardBinding {
 public:
  HardBinding(nn::UNet2DConditionModel unet, std::shared_ptr<const MaskedRegions> scene)
      : unet_(std::move(unet)), scene_(scene), shares_(std::move(scene)) {}

  Tensor predict(const diffusion::NetworkCall& call, const diffusion::Network& network) {
    const auto whole = network(call);
    const auto height = call.input.size(2), width = call.input.size(3);
    const auto& shares = shares_.at(height * width, call.input.device());
    std::vector<nn::Attention> layers;
    for (auto& [place, layer] : attention_layers(unet_)) layers.push_back(layer);
    const nn::ScopedProcessor plain(std::move(layers), nullptr);
    auto result = whole.flatten(2).clone();
    for (std::size_t i = 0; i < scene_->regions.size(); ++i) {
      const auto& region = scene_->regions[i];
      const auto box = box_around(shape_on_features(region.shape, height, width));
      const auto& positions = shares[i].positions;
      const auto& weights = shares[i].weights;
      if (box.empty() || positions.numel() == 0) continue;
      auto part = call;
      part.input = cut(call.input, box).contiguous();
      part.text = text_for(region.context, call);
      const auto alone = network(part);
      auto pasted = whole.clone();
      cut(pasted, box).copy_(alone);
      const auto change = (pasted - whole).flatten(2).index_select(2, positions);
      result.index_add_(2, positions, change * weights.view({1, 1, -1}));
    }
    return result.view(whole.sizes());
  }

 private:
  nn::UNet2DConditionModel unet_;
  std::shared_ptr<const MaskedRegions> scene_;
  RegionShares shares_;
};

}  // namespace

diffusion::PredictCallback hard_binding(nn::UNet2DConditionModel unet,
                                        std::shared_ptr<const MaskedRegions> scene,
                                        std::int64_t steps) {
  const auto binding = std::make_shared<HardBinding>(std::move(unet), std::move(scene));
  return [binding, steps](const diffusion::NetworkCall& call, const diffusion::Network& network) {
    return call.step < steps ? binding->predict(call, network) : network(call);
  };
}

}  // namespace mos::region
