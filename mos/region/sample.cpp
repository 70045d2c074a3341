#include "mos/region/sample.h"

#include <ATen/Functions.h>
#include <fmt/core.h>

#include <array>
#include <cmath>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "mos/base/error.h"
#include "mos/base/random.h"
#include "mos/base/text.h"
#include "mos/concepts/prompt_encoder.h"
#include "mos/diffusion/brownian_tree.h"
#include "mos/diffusion/philox.h"
#include "mos/diffusion/vae_tiles.h"
#include "mos/io/image.h"
#include "mos/region/masked_attention.h"
#include "mos/region/region_mask.h"
#include "mos/region/regional_attention.h"
#include "mos/region/scene_text.h"

namespace mos::region {

using torch::Tensor;

SceneTexts encode_scene(diffusion::Model& model, const concepts::ConceptTokens& tokens,
                        const Scene& scene, const SampleOptions& options) {
  const torch::NoGradGuard no_grad;
  const auto prompts = prompts_of(with_root_prompts(scene));
  const auto states = concepts::encode_pairs(
      tokens, model.towers, prompts,
      {.plain_text = options.sampler.plain_text, .clip_skip = options.sampler.clip_skip});
  const bool guided = options.guidance_scale > 1.0;
  SceneTexts texts{states[0], states[1], {}};
  for (std::size_t r = 0; r < scene.regions.size(); ++r) {
    const auto &cond = states[2 + 2 * r], &uncond = states[3 + 2 * r];
    texts.regions.push_back({scene.regions[r].box, scene.regions[r].weight,
                             guided ? nn::cat(std::array{uncond, cond}) : cond});
  }
  return texts;
}

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
    if (!scene.regions[i].is_plain_box()) continue;  // shapes weigh by area
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

namespace {

/// Processors of a scene's regions in the layers of a model, for as long as this object lives.
class InstalledRegions {
 public:
  InstalledRegions(diffusion::Model& model, const Scene& scene, const SampleOptions& options,
                   const PaintInputs& paint) {
    auto contexts = paint.texts.value().regions;
    if (contexts.empty()) return;
    const auto canvas = canvas_of(model, options);
    const auto factor = model.downscale();
    const auto height = canvas.height / factor, width = canvas.width / factor;
    const auto& own = paint.own;
    if (scene.is_plain() && own.regions.empty()) {
      cross_.emplace(
          model.unet->cross_attentions(),
          std::make_shared<RegionalAttention>(std::move(contexts), height, width, options.count));
      return;
    }
    masked_ = std::make_shared<MaskedRegions>();
    const auto masks = region_masks(scene, canvas);
    for (std::size_t i = 0; i < contexts.size(); ++i) {
      const auto& region = scene.regions[i];
      masked_->regions.push_back({masks[i], contexts[i].text.context, region.weight, region.start,
                                  region.end, own.regions.empty() ? nullptr : own.regions.at(i)});
    }
    masked_->overlap = scene.overlap == "front" ? Overlap::kFront : Overlap::kMean;
    masked_->base_ratio = scene.base_ratio;
    masked_->isolate = scene.isolate;
    masked_->own_context = own.context;
    masked_->latent_height = height;
    masked_->latent_width = width;
    masked_->pictures = options.count;
    cross_.emplace(model.unet->cross_attentions(), std::make_shared<MaskedAttention>(masked_));
    if (scene.isolate || !own.regions.empty()) {
      self_.emplace(self_attentions(model), std::make_shared<RegionalSelfAttention>(masked_));
    }
  }

  /// `residuals`, and the time kept for regions that come and go.
  diffusion::ResidualCallback with_time(diffusion::ResidualCallback residuals) const {
    if (masked_ == nullptr) return residuals;
    return [masked = masked_, residuals](const diffusion::NetworkCall& call) {
      masked->progress = static_cast<double>(call.index) / static_cast<double>(call.total);
      return residuals ? residuals(call) : nn::UNetResiduals{};
    };
  }

 private:
  static std::vector<nn::Attention> self_attentions(const diffusion::Model& model) {
    std::vector<nn::Attention> layers;
    for (const auto& module : model.unet->modules()) {
      auto attention = std::dynamic_pointer_cast<nn::AttentionImpl>(module);
      if (attention && !attention->is_cross_attention()) layers.emplace_back(std::move(attention));
    }
    return layers;
  }

  std::shared_ptr<MaskedRegions> masked_;
  std::optional<nn::ScopedProcessor> cross_, self_;
};

void check_zero_snr(const SampleOptions& options, const diffusion::NoiseSchedule& schedule) {
  if (!options.sampler.zero_snr) return;
  if (schedule.prediction_type() != diffusion::PredictionType::kEpsilon) return;
  throw Error(ErrorKind::kUsage,
              "zero_snr is for models that predict v or the sample: this one predicts noise, which "
              "says nothing where all is noise; leave it out");
}

/// One run of the U-Net from `start`; `paint` has the texts.
Tensor run_unet(diffusion::Model& model, const Scene& scene, const SampleOptions& options,
                const PaintInputs& paint, diffusion::PictureStart start,
                const diffusion::StepCallback& on_step, const CancelToken* cancel) {
  const auto canvas = canvas_of(model, options);
  const auto shape = diffusion::latent_shape(model, canvas.height, canvas.width);
  auto scheduler = diffusion::make_scheduler(
      options.scheduler, sampler_config(options.sampler, model.settings.scheduler_config),
      scheduler_options(options.sampler, options.eta));
  check_zero_snr(options, scheduler->noise_schedule());
  const auto& texts = paint.texts.value();
  const InstalledRegions regions(model, scene, options, paint);
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
  inputs.step_noise = std::move(noise.of_steps);
  inputs.start = std::move(start);
  return diffusion::denoise(inputs, on_step, cancel);
}

Tensor decode(const diffusion::Model& model, const Tensor& latents, const PictureOptions& options) {
  return options.vae_tile > 0
             ? diffusion::decode_latents_tiled(model.vae, latents, options.vae_tile)
             : diffusion::decode_latents(model.vae, latents);
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
  torch::NoGradGuard no_grad;
  auto inputs = paint;
  if (!inputs.texts) inputs.texts = encode_scene(model, tokens, scene, options);
  auto start = start_of(model, paint.start, options.pictures);
  const auto latents = run_unet(model, scene, options, inputs, std::move(start), on_step, cancel);
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
  return run_unet(model, scene, second, inputs, std::move(again), on_step, cancel);
}

Tensor sample_pictures(diffusion::Model& model, const concepts::ConceptTokens& tokens,
                       const Scene& scene, const SampleOptions& options, const PaintInputs& paint,
                       const diffusion::StepCallback& on_step, const CancelToken* cancel) {
  const auto latents = sample_latents(model, tokens, scene, options, paint, on_step, cancel);
  return laid_over(paint.start, decode(model, latents, options.pictures));
}

}  // namespace mos::region
