#include "mos/region/guide.h"

#include <algorithm>
#include <cstdlib>

#include "mos/region/guides/guides.h"

namespace mos::region {

using torch::Tensor;

namespace {

constexpr auto kGuides = std::to_array<GuideInfo>({
    {Guide::kAttend, "Attend-and-Excite", false, false, make_attend_and_excite},
    {Guide::kLayout, "layout guidance", true, false, make_layout_guidance},
    {Guide::kBounded, "bounded attention", true, true, make_bounded_attention},
    {Guide::kComposer, "LoRA-Composer", true, true, make_lora_composer},
});

}  // namespace

const GuideInfo& guide_info(Guide guide) {
  const auto found = std::find_if(kGuides.begin(), kGuides.end(),
                                  [guide](const GuideInfo& row) { return row.guide == guide; });
  TORCH_CHECK(found != kGuides.end(), "there is no guide for no guide");
  return *found;
}

std::int64_t guide_level(nn::UNet2DConditionModel unet, nn::FeatureSize latents,
                         const AttentionObserver::Choice& among) {
  constexpr std::int64_t kCoarsest = 2, kFewest = 8;
  std::int64_t wanted = 0;
  auto side = std::min(latents.height, latents.width);
  while (wanted < kCoarsest && (side + 1) / 2 >= kFewest) {
    side = (side + 1) / 2;
    ++wanted;
  }
  std::int64_t nearest = -1;
  for (const auto& [place, layer] : attention_layers(unet)) {
    if (among && !among(place)) continue;
    const auto distance = [wanted](std::int64_t level) { return std::abs(level - wanted); };
    if (nearest < 0 || distance(place.level) < distance(nearest)) nearest = place.level;
  }
  return nearest;
}

Tensor flat_mask(const Subject& subject, const SeenLayer& layer) {
  return shape_on_features(subject.shape, layer.size.height, layer.size.width).flatten();
}

Tensor of_words(const SeenLayer& layer, const Subject& subject) {
  const auto& map = layer.texts.at(subject.text);
  const auto columns = torch::tensor(subject.columns, torch::kInt64).to(map.device());
  return map.index_select(2, columns).sum(2);
}

}  // namespace mos::region
