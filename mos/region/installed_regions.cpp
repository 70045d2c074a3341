#include "mos/region/installed_regions.h"

#include <utility>

#include "mos/region/region_mask.h"
#include "mos/region/regional_attention.h"
#include "mos/region/subjects.h"

namespace mos::region {
namespace {

/// Whether regions do not see each other in self-attention.
bool is_isolated(const Scene& scene, const SampleOptions& options) {
  const auto guide = options.sampler.guide;
  return scene.isolate || (guide != Guide::kNone && guide_info(guide).isolates);
}

}  // namespace

InstalledRegions::InstalledRegions(const ScenePainting& painting) {
  auto contexts = painting.paint.texts.value().regions;
  const bool is_structured = painting.options.sampler.structure != Structure::kNone;
  if (contexts.empty() && !is_structured) return;
  const auto canvas = canvas_of(painting.model, painting.options);
  const auto factor = painting.model.downscale();
  const nn::FeatureSize latents{canvas.height / factor, canvas.width / factor};
  const bool is_plain = painting.scene.is_plain() && painting.paint.own.regions.empty() &&
                        !is_isolated(painting.scene, painting.options) && !is_structured &&
                        painting.options.sampler.hard_binding == 0;
  if (!is_plain) {
    install_masked(painting, latents);
    return;
  }
  cross_.emplace(painting.model.unet->cross_attentions(),
                 std::make_shared<RegionalAttention>(std::move(contexts), latents.height,
                                                     latents.width, painting.options.count));
}

void InstalledRegions::install_masked(const ScenePainting& painting, nn::FeatureSize latents) {
  const auto& [model, tokens, scene, options, paint, steer, most_calls] = painting;
  const auto& contexts = paint.texts.value().regions;
  const auto& own = paint.own;
  masked_ = std::make_shared<MaskedRegions>();
  const auto shapes = region_shapes(scene, canvas_of(model, options));
  const auto hidden = hidden_words(SubjectReader(model, tokens, options.sampler), scene);
  for (std::size_t i = 0; i < contexts.size(); ++i) {
    const auto& region = scene.regions[i];
    masked_->regions.push_back({shapes[i], contexts[i].text.context, region.weight, region.start,
                                region.end, own.regions.empty() ? nullptr : own.regions.at(i),
                                contexts[i].values, hidden[i]});
  }
  masked_->overlap = scene.overlap == "front" ? Overlap::kFront : Overlap::kMean;
  masked_->base_ratio = scene.base_ratio;
  masked_->isolate = is_isolated(scene, options);
  masked_->structure = paint.texts->structure;
  masked_->own_context = own.context;
  masked_->latent_height = latents.height;
  masked_->latent_width = latents.width;
  masked_->pictures = options.count;
  cross_.emplace(model.unet->cross_attentions(), std::make_shared<MaskedAttention>(masked_));
  if (masked_->regions.empty()) return;
  if (!own.regions.empty()) layers_.emplace(masked_);
  if (masked_->isolate || !own.regions.empty()) {
    self_.emplace(model.unet->self_attentions(), std::make_shared<RegionalSelfAttention>(masked_));
  }
}

diffusion::ResidualCallback InstalledRegions::with_time(
    diffusion::ResidualCallback residuals) const {
  if (masked_ == nullptr) return residuals;
  return [masked = masked_, residuals](const diffusion::NetworkCall& call) {
    masked->progress = static_cast<double>(call.index) / static_cast<double>(call.total);
    return residuals ? residuals(call) : nn::UNetResiduals{};
  };
}

}  // namespace mos::region
