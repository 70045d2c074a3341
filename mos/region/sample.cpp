#include "mos/region/sample.h"

#include <fmt/core.h>

#include <array>
#include <cmath>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "mos/base/error.h"
#include "mos/base/text.h"
#include "mos/region/regional_attention.h"

namespace mos::region {

using torch::Tensor;

namespace {

/// Texts of context and regions in one run of the encoder.
struct SceneTexts {
  nn::Conditioning cond, uncond;  ///< Of one picture.
  std::vector<RegionContext> regions;
};

SceneTexts encode_scene(diffusion::Model& model, const concepts::ConceptTokens& tokens,
                        const Scene& scene, bool guided) {
  std::vector<std::string> prompts = {scene.prompt, scene.negative_prompt};
  for (const auto& region : scene.regions) {
    prompts.push_back(region.prompt);
    prompts.push_back(region.negative_prompt);
  }
  torch::NoGradGuard no_grad;
  const auto all = concepts::encode_prompts(tokens, model.towers, prompts);
  const auto text = [&](std::size_t i) { return all.narrow(static_cast<std::int64_t>(i), 1); };
  SceneTexts texts{text(0), text(1), {}};
  for (std::size_t r = 0; r < scene.regions.size(); ++r) {
    const auto cond = text(2 + 2 * r), uncond = text(3 + 2 * r);
    texts.regions.push_back({scene.regions[r].box, scene.regions[r].weight,
                             guided ? nn::cat(std::array{uncond, cond}) : cond});
  }
  return texts;
}

/// The level of the U-Net with the largest features that read a text; 0 has the latents' size.
std::size_t finest_attention(const nn::UNetConfig& config) {
  const auto levels = config.block_out_channels.size();
  std::size_t level = 0;
  while (level + 1 < levels && !config.down_has_attention[level] &&
         !config.up_has_attention[levels - 1 - level]) {
    ++level;
  }
  return level;
}

}  // namespace

void check_options(const SampleOptions& options) {
  check_fields(options);
  if (options.count <= kMostAtATime) return;
  throw Error(ErrorKind::kUsage,
              fmt::format("{} pictures at a time are not possible, expected 1 to {}", options.count,
                          kMostAtATime));
}

Canvas canvas_of(const diffusion::Model& model, const SampleOptions& options) {
  const auto own = model.unet->config().sample_size * model.downscale();
  return {options.height == 0 ? own : options.height, options.width == 0 ? own : options.width};
}

void check_boxes(const diffusion::Model& model, const Scene& scene) {
  const auto canvas = scene.canvas.value();
  const auto level = finest_attention(model.unet->config());
  auto cell = model.downscale();
  auto height = canvas.height / cell, width = canvas.width / cell;
  for (std::size_t i = 0; i < level; ++i) {
    height = (height + 1) / 2;
    width = (width + 1) / 2;
    cell *= 2;
  }
  std::vector<std::string> small;
  for (std::size_t i = 0; i < scene.regions.size(); ++i) {
    const auto& [top, left, bottom, right] = scene.regions[i].box;
    if (!on_features(scene.regions[i].box, height, width).empty()) continue;
    const auto h = static_cast<double>(canvas.height), w = static_cast<double>(canvas.width);
    small.push_back(fmt::format("{} \"{}\" with the box [{:g}, {:g}, {:g}, {:g}]", i + 1,
                                scene.regions[i].prompt, top * h, left * w, bottom * h, right * w));
  }
  if (small.empty()) return;
  throw Error(
      ErrorKind::kUsage,
      fmt::format("a box must cover a position of the finest layer, which is {} x {} pixels "
                  "between multiples of {}; too small for anything to be painted: region {}",
                  cell, cell, cell, listed(small)));
}

Tensor sample_latents(diffusion::Model& model, const concepts::ConceptTokens& tokens,
                      const Scene& scene, const SampleOptions& options, const PaintInputs& paint,
                      const diffusion::StepCallback& on_step, const CancelToken* cancel) {
  check_options(options);
  torch::NoGradGuard no_grad;
  const auto canvas = canvas_of(model, options);
  const auto shape = diffusion::latent_shape(model, canvas.height, canvas.width);
  auto generators = diffusion::picture_generators(options.seed, options.count);
  auto scheduler = diffusion::make_scheduler(options.scheduler, model.settings.scheduler_config,
                                             {.eta = options.eta});
  const bool guided = options.guidance_scale > 1.0;
  auto texts = encode_scene(model, tokens, scene, guided);

  std::optional<nn::ScopedProcessor> regional;
  if (!texts.regions.empty()) {
    regional.emplace(
        model.unet->cross_attentions(),
        std::make_shared<RegionalAttention>(std::move(texts.regions), shape[1], shape[2]));
  }
  diffusion::DenoiseInputs inputs;
  inputs.unet = model.unet;
  inputs.scheduler = scheduler.get();
  inputs.steps = options.steps;
  inputs.noise = paint.noise.defined() ? paint.noise : diffusion::initial_noise(generators, shape);
  inputs.cond = texts.cond;
  inputs.uncond = texts.uncond;
  inputs.guidance_scale = options.guidance_scale;
  inputs.residuals = residuals_of(paint.conditions, guided);
  inputs.step_noise = diffusion::NoiseSource(std::move(generators));
  return diffusion::denoise(inputs, on_step, cancel);
}

Tensor sample_pictures(diffusion::Model& model, const concepts::ConceptTokens& tokens,
                       const Scene& scene, const SampleOptions& options, const PaintInputs& paint,
                       const diffusion::StepCallback& on_step, const CancelToken* cancel) {
  const auto latents = sample_latents(model, tokens, scene, options, paint, on_step, cancel);
  return diffusion::decode_latents(model.vae, latents);
}

}  // namespace mos::region
