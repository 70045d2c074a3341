#include "mos/region/sample.h"

#include <fmt/core.h>

#include <cmath>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "mos/base/error.h"
#include "mos/region/regional_attention.h"

namespace mos::region {

using torch::Tensor;

namespace {

/// Texts of context and regions in one run of the encoder.
struct SceneTexts {
  Tensor cond, uncond;  ///< [1,S,C] or [1,L,S,C]
  std::vector<RegionContext> regions;
};

SceneTexts encode_scene(diffusion::StableDiffusion& model, const concepts::ConceptTokens& tokens,
                        const Scene& scene, bool guided) {
  std::vector<std::string> prompts = {scene.prompt, scene.negative_prompt};
  for (const auto& region : scene.regions) {
    prompts.push_back(region.prompt);
    prompts.push_back(region.negative_prompt);
  }
  torch::NoGradGuard no_grad;
  const auto states =
      concepts::encode_prompts(tokens, model.tokenizer, model.text_encoder, prompts);
  const auto text = [&](std::size_t i) {
    const auto at = static_cast<std::int64_t>(i);
    return states.slice(0, at, at + 1);
  };
  SceneTexts texts{text(0), text(1), {}};
  for (std::size_t r = 0; r < scene.regions.size(); ++r) {
    const auto cond = text(2 + 2 * r), uncond = text(3 + 2 * r);
    texts.regions.push_back({scene.regions[r].box, scene.regions[r].weight,
                             guided ? torch::cat({uncond, cond}) : cond});
  }
  return texts;
}

}  // namespace

void check_options(const SampleOptions& options) {
  const auto require = [](bool holds, const std::string& message) {
    if (!holds) throw Error(ErrorKind::kUsage, message);
  };
  constexpr double kLargestGuidance = 1000.0;
  require(options.height >= 0 && options.width >= 0, "height and width must not be below 0");
  require(options.steps >= 1, fmt::format("steps is {}, expected at least 1", options.steps));
  require(options.count >= 1 && options.count <= kMostAtATime,
          fmt::format("{} pictures at a time are not possible, expected 1 to {}", options.count,
                      kMostAtATime));
  require(std::abs(options.guidance_scale) <= kLargestGuidance,
          fmt::format("guidance_scale is {}, expected {} at most", options.guidance_scale,
                      kLargestGuidance));
  require(options.eta >= 0.0 && options.eta <= 1.0,
          fmt::format("eta is {}, expected 0 to 1", options.eta));
}

Canvas canvas_of(const diffusion::StableDiffusion& model, const SampleOptions& options) {
  const auto own = model.unet->config().sample_size * model.downscale();
  return {options.height == 0 ? own : options.height, options.width == 0 ? own : options.width};
}

Tensor sample_latents(diffusion::StableDiffusion& model, const concepts::ConceptTokens& tokens,
                      const Scene& scene, const SampleOptions& options, const PaintInputs& paint,
                      const diffusion::StepCallback& on_step, const CancelToken* cancel) {
  check_options(options);
  torch::NoGradGuard no_grad;
  const auto canvas = canvas_of(model, options);
  const auto shape = diffusion::latent_shape(model, canvas.height, canvas.width);
  auto generators = diffusion::picture_generators(options.seed, options.count);
  auto scheduler =
      diffusion::make_scheduler(options.scheduler, model.scheduler_config, {.eta = options.eta});
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

Tensor sample_pictures(diffusion::StableDiffusion& model, const concepts::ConceptTokens& tokens,
                       const Scene& scene, const SampleOptions& options, const PaintInputs& paint,
                       const diffusion::StepCallback& on_step, const CancelToken* cancel) {
  const auto latents = sample_latents(model, tokens, scene, options, paint, on_step, cancel);
  return diffusion::decode_latents(model.vae, latents);
}

}  // namespace mos::region
