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

Tensor background_mask(const Seen& seen, const SeenLayer& layer) {
  auto covered = torch::zeros({layer.size.height * layer.size.width});
  for (const auto& subject : seen.subjects) covered = covered + flat_mask(subject, layer);
  return (1.0 - covered).clamp_min(0.0);
}

Tensor isolated_self(const Seen& seen, const SeenLayer& layer) {
  constexpr double kCovered = 0.5;
  std::vector<Tensor> masks;
  for (const auto& subject : seen.subjects) masks.push_back(flat_mask(subject, layer));
  const auto in = torch::stack(masks).ge(kCovered).to(torch::kFloat32);  // [subjects,N]
  const auto free = in.sum(0).eq(0.0).to(torch::kFloat32);
  const auto sees = (in.t().matmul(in) + free.unsqueeze(0) + free.unsqueeze(1)).gt(0.0);
  // A softmax without some of its scores is what is left of it, in units of its sum.
  const auto left = layer.self * sees.to(layer.self.options());
  return left / left.sum(-1, /*keepdim=*/true).clamp_min(kLeastAttention);
}

}  // namespace mos::region
