#include "mos/region/sample.h"

#include <ATen/Functions.h>
#include <fmt/core.h>

#include <cmath>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "mos/base/error.h"
#include "mos/base/random.h"
#include "mos/base/text.h"
#include "mos/diffusion/brownian_tree.h"
#include "mos/diffusion/philox.h"
#include "mos/diffusion/vae_tiles.h"
#include "mos/io/image.h"
#include "mos/region/auto_regions.h"
#include "mos/region/hard_binding.h"
#include "mos/region/installed_regions.h"
#include "mos/region/region_mask.h"
#include "mos/region/steering.h"
#include "mos/region/subjects.h"

namespace mos::region {

using torch::Tensor;

namespace {

/// What a seed means.
struct SeedNoise {
  Tensor first;
  diffusion::NoiseSource of_steps;
};

/// `given`, where it is defined, takes the place of the first draw.
SeedNoise noise_of(const SampleOptions& options, at::IntArrayRef shape, const Tensor& given) {
  if (options.sampler.noise == "a1111") {
    diffusion::PhiloxNoise noise(options.seed, options.count);
    auto first = given.defined() ? given : noise.draw(shape);
    return {std::move(first),
            noise.source().with_path(diffusion::brownian_paths(
                options.seed, options.count, [](std::uint64_t seed, at::IntArrayRef size) {
                  return diffusion::PhiloxGenerator(seed).randn(size);
                }))};
  }
  auto generators = diffusion::picture_generators(options.seed, options.count);
  auto first = given.defined() ? given : diffusion::initial_noise(generators, shape);
  const auto draw = [](std::uint64_t seed, at::IntArrayRef size) {
    auto generator = seeded_generator(seed);
    return randn(size, generator);
  };
  return {std::move(first),
          diffusion::NoiseSource(std::move(generators))
              .with_path(diffusion::brownian_paths(options.seed, options.count, draw))};
}

}  // namespace

void check_options(const SampleOptions& options) {
  check_fields(options);
  if (options.count > kMostAtATime) {
    throw Error(ErrorKind::kUsage,
                fmt::format("{} pictures at a time are not possible, expected 1 to {}",
                            options.count, kMostAtATime));
  }
  check_sampler_options(options.sampler);
  check_picture_options(options.pictures);
}

Canvas canvas_of(const diffusion::Model& model, const SampleOptions& options) {
  const auto own = model.unet->config().sample_size * model.downscale();
  return {options.height == 0 ? own : options.height, options.width == 0 ? own : options.width};
}

namespace {

void check_zero_snr(const SampleOptions& options, const diffusion::NoiseSchedule& schedule) {
  if (!options.sampler.zero_snr) return;
  if (schedule.prediction_type() != diffusion::PredictionType::kEpsilon) return;
  throw Error(ErrorKind::kUsage,
              "zero_snr is for models that predict v or the sample: this one predicts noise, which "
              "says nothing where all is noise; leave it out");
}

/// What the guide of the options does before each step; nothing without one.
diffusion::SteerCallback steering_of(const ScenePainting& painting,
                                     const diffusion::NoiseSchedule& schedule) {
  const auto& [model, tokens, scene, options, paint, steer, most_calls] = painting;
  if (steer) return steer;
  if (options.sampler.guide == Guide::kNone) return {};
  const auto canvas = canvas_of(model, options);
  const auto& texts = paint.texts.value();
  SteeringInputs inputs{
      .unet = model.unet,
      .guide = options.sampler.guide,
      .scale = options.sampler.guide_scale,
      .latents = {canvas.height / model.downscale(), canvas.width / model.downscale()},
      .schedule = &schedule};
  inputs.texts.push_back({texts.cond.context, paint.own.context});
  for (std::size_t i = 0; i < texts.regions.size(); ++i) {
    const auto& context = texts.regions[i].text.context;
    inputs.texts.push_back({context.slice(0, context.size(0) - 1),
                            paint.own.regions.empty() ? nullptr : paint.own.regions.at(i)});
  }
  inputs.subjects =
      guided_subjects(SubjectReader(model, tokens, options.sampler), scene, options, canvas);
  return steering(std::move(inputs));
}

/// Throws kUsage for what regions cannot be painted apart with.
diffusion::PredictCallback binding_of(const ScenePainting& painting,
                                      const InstalledRegions& regions) {
  const auto require = [](bool holds, const std::string& what) {
    if (!holds) throw Error(ErrorKind::kUsage, "hard_binding paints regions apart: " + what);
  };
  require(!painting.scene.regions.empty(), "the scene has none");
  require(painting.paint.conditions.empty(), "it does not go with adapters, which know the whole");
  require(!painting.model.paints_into_pictures(), "it does not go with inpainting models");
  return hard_binding(painting.model.unet, regions.masked(), painting.options.sampler.hard_binding);
}

/// Throws kUsage for a scheduler that would undo what a guide does.
void check_guide(const SampleOptions& options, const diffusion::Scheduler& scheduler) {
  const bool moves = options.sampler.guide != Guide::kNone && options.sampler.guide_scale > 0.0;
  if (!moves || scheduler.class_name() != "UniPCMultistepScheduler") return;
  throw Error(ErrorKind::kUsage,
              "a guide moves the latents before a step, and UniPC begins every step by working "
              "out anew where they are; take another scheduler, such as dpm++");
}

/// One run of the U-Net from `start`; `painting` has the texts.
Tensor run_unet(const ScenePainting& painting, diffusion::PictureStart start,
                const diffusion::StepCallback& on_step, const CancelToken* cancel) {
  const auto& [model, tokens, scene, options, paint, steer, most_calls] = painting;
  const auto canvas = canvas_of(model, options);
  const auto shape = diffusion::latent_shape(model, canvas.height, canvas.width);
  auto scheduler = diffusion::make_scheduler(
      options.scheduler, sampler_config(options.sampler, model.settings.scheduler_config),
      scheduler_options(options.sampler, options.eta));
  check_zero_snr(options, scheduler->noise_schedule());
  check_guide(options, *scheduler);
  const auto& texts = paint.texts.value();
  const InstalledRegions regions(painting);
  if (model.paints_into_pictures() && !start.beside.defined()) {
    start.beside = nothing_beside(model, shape[1], shape[2]);
  }
  auto noise = noise_of(options, shape, paint.noise);
  diffusion::DenoiseInputs inputs;
  inputs.unet = model.unet;
  inputs.scheduler = scheduler.get();
  inputs.steps = options.steps;
  inputs.noise = std::move(noise.first);
  inputs.cond = texts.cond;
  inputs.uncond = texts.uncond;
  inputs.guidance_scale = options.guidance_scale;
  inputs.guidance = guidance_options(options.sampler);
  inputs.residuals = regions.with_time(residuals_of(paint.conditions));
  inputs.most_calls = most_calls;
  inputs.predict = paint.predict;
  if (options.sampler.hard_binding > 0) {
    inputs.predict = binding_of(painting, regions);
  }
  inputs.steer = steering_of(painting, scheduler->noise_schedule());
  inputs.step_noise = std::move(noise.of_steps);
  inputs.start = std::move(start);
  return diffusion::denoise(inputs, on_step, cancel);
}

Tensor decode(const diffusion::Model& model, const Tensor& latents, const PictureOptions& options) {
  return options.vae_tile > 0
             ? diffusion::decode_latents_tiled(model.vae, latents, options.vae_tile)
             : diffusion::decode_latents(model.vae, latents);
}

/// Before the first pass is painted in vain.
void check_second_pass(const SampleOptions& options) {
  const double share = options.pictures.hires_strength;
  if (options.pictures.hires == 1.0 || static_cast<double>(options.steps) * share >= 1.0) return;
  throw Error(
      ErrorKind::kUsage,
      fmt::format("--hires-strength, the share of the steps that the second pass takes, is "
                  "{}, and that is none of {} steps: paint with {} steps or more, or with a "
                  "larger --hires-strength",
                  share, options.steps, std::ceil(1.0 / share)));
}

/// `latents` on the canvas of the second pass.
Tensor enlarged(const diffusion::Model& model, const Tensor& latents, Canvas canvas,
                const PictureOptions& options) {
  const auto factor = model.downscale();
  if (options.hires_upscale == "latent") {
    return at::upsample_bilinear2d(latents, {canvas.height / factor, canvas.width / factor},
                                   /*align_corners=*/false);
  }
  std::vector<Tensor> larger;
  const auto pictures = decode(model, latents, options);
  for (std::int64_t i = 0; i < pictures.size(0); ++i) {
    const auto pixels = io::resize_lanczos(pictures[i], canvas.height, canvas.width);
    const auto picture = io::to_float_chw({pixels, {}}).unsqueeze(0).to(model.device());
    larger.push_back(options.vae_tile > 0
                         ? diffusion::encode_pictures_tiled(model.vae, picture, options.vae_tile)
                         : diffusion::encode_pictures(model.vae, picture));
  }
  return torch::cat(larger);
}

}  // namespace

Canvas hires_canvas(const diffusion::Model& model, const SampleOptions& options) {
  const auto first = canvas_of(model, options);
  const auto factor = static_cast<double>(model.downscale());
  const auto larger = [&](std::int64_t side) {
    const double positions = static_cast<double>(side) * options.pictures.hires / factor;
    return static_cast<std::int64_t>(std::llround(positions)) * model.downscale();
  };
  return options.pictures.hires == 1.0 ? first : Canvas{larger(first.height), larger(first.width)};
}

Tensor sample_latents(diffusion::Model& model, const concepts::ConceptTokens& tokens,
                      const Scene& scene, const SampleOptions& options, const PaintInputs& paint,
                      const diffusion::StepCallback& on_step, const CancelToken* cancel) {
  check_options(options);
  check_second_pass(options);
  torch::NoGradGuard no_grad;
  auto inputs = paint;
  if (!inputs.texts) inputs.texts = encode_scene(model, tokens, scene, options);
  auto start = start_of(model, paint.start, options.pictures);
  const auto latents =
      run_unet({model, tokens, scene, options, inputs}, std::move(start), on_step, cancel);
  if (options.pictures.hires == 1.0) return latents;
  const auto canvas = hires_canvas(model, options);
  auto second = options;
  second.height = canvas.height;
  second.width = canvas.width;
  inputs.noise = Tensor();
  for (auto& condition : inputs.conditions) {
    condition.picture = at::upsample_bilinear2d(condition.picture, {canvas.height, canvas.width},
                                                /*align_corners=*/false);
  }
  diffusion::PictureStart again;
  again.latents = enlarged(model, latents, canvas, options.pictures);
  again.strength = options.pictures.hires_strength;
  const auto larger =
      on_larger_canvas(scene, static_cast<double>(canvas.width) /
                                  static_cast<double>(canvas_of(model, options).width));
  return run_unet({model, tokens, larger, second, inputs}, std::move(again), on_step, cancel);
}

std::vector<Region> find_regions(diffusion::Model& model, const concepts::ConceptTokens& tokens,
                                 const Scene& scene, const SampleOptions& options,
                                 const PaintInputs& paint, const CancelToken* cancel) {
  const torch::NoGradGuard no_grad;
  auto alone = options;
  alone.count = 1;
  alone.sampler.guide = Guide::kNone;
  alone.sampler.hard_binding = 0;  // there are no regions yet
  const auto words = SubjectReader(model, tokens, options.sampler)
                         .subjects_in(with_root_prompts(scene).prompt, options.sampler.subjects);
  if (!scene.regions.empty() || words.size() < 2) {
    throw Error(
        ErrorKind::kUsage,
        fmt::format("auto_regions finds regions for two or more subjects of a prompt without "
                    "regions; this one has {} and {} regions",
                    words.size(), scene.regions.size()));
  }
  auto inputs = paint;
  if (!inputs.texts) inputs.texts = encode_scene(model, tokens, scene, alone);
  Seen seen;
  for (const auto& one : words) seen.subjects.push_back({one.name, 0, one.columns, {}});
  const auto canvas = canvas_of(model, alone);
  const nn::FeatureSize latents{canvas.height / model.downscale(),
                                canvas.width / model.downscale()};
  const auto level =
      guide_level(model.unet, latents, [](const LayerPlace& place) { return place.is_up; });
  auto start = start_of(model, paint.start, alone.pictures);
  // A picture to begin with takes the last of the steps alone.
  const double taken = std::floor(static_cast<double>(options.steps) * start.strength);
  auto left = std::max<std::int64_t>(1, std::llround(kSearchShare * taken));
  const auto calls = left;
  const auto watch = [&](const diffusion::NetworkCall& call, const diffusion::Network& network) {
    if (--left > 0) return call.input;
    AttentionObserver observer(
        model.unet, {{inputs.texts->cond.context, inputs.own.context}}, latents,
        [&](const LayerPlace& place) { return place.is_up && place.level == level; });
    network(call);
    seen.layers = observer.take();
    return call.input;
  };
  run_unet({model, tokens, scene, alone, inputs, watch, calls}, std::move(start), {}, cancel);
  std::vector<Region> regions;
  for (const auto& box : find_boxes(seen)) {
    Region region;
    region.subject = seen.subjects[regions.size()].name;
    region.box = box;
    regions.push_back(std::move(region));
  }
  return regions;
}

Tensor sample_pictures(diffusion::Model& model, const concepts::ConceptTokens& tokens,
                       const Scene& scene, const SampleOptions& options, const PaintInputs& paint,
                       const diffusion::StepCallback& on_step, const CancelToken* cancel) {
  const auto latents = sample_latents(model, tokens, scene, options, paint, on_step, cancel);
  return laid_over(paint.start, decode(model, latents, options.pictures));
}

}  // namespace mos::region
