#include "mos/pretrain/sampling.h"

#include <algorithm>

#include "mos/base/random.h"
#include "mos/diffusion/denoise.h"
#include "mos/diffusion/scheduler.h"
#include "mos/io/image.h"
#include "mos/pretrain/compute.h"
#include "mos/pretrain/trainer.h"
#include "mos/pretrain/unet_training.h"

namespace mos::pretrain {

using torch::Tensor;

namespace {

constexpr std::int64_t kContactColumns = 8;
constexpr const char* kScheduler = "dpm++";  // as people paint: it is mos sample's default

Tensor noise_of(const SampleOptions& options, std::int64_t first, std::int64_t count,
                at::IntArrayRef shape) {
  std::vector<Tensor> parts;
  for (std::int64_t i = 0; i < count; ++i) {
    auto generator =
        // A large prime apart, so that pictures of neighbouring seeds share no noise.
        seeded_generator(options.seed * 1000003ULL + static_cast<std::uint64_t>(first + i));
    parts.push_back(mos::randn(shape, generator));
  }
  return torch::stack(parts);
}

/// What the adapter makes of the conditions, in both halves of guidance.
diffusion::ResidualCallback steer(nn::T2IAdapter adapter, const Tensor& conditions) {
  const auto features = adapter(conditions.to(device_of(*adapter), kCompute));
  return [features](const diffusion::NetworkCall& call) {
    nn::UNetResiduals residuals;
    for (const auto& one : features) {
      residuals.adapter.push_back(call.has_both_halves ? torch::cat({one, one}) : one);
    }
    return residuals;
  };
}

}  // namespace

Tensor sample_pictures(diffusion::Model model, const std::vector<std::string>& prompts,
                       const SampleOptions& options, const std::optional<Steering>& steering) {
  const torch::NoGradGuard no_grad;
  const auto& config = model.unet->config();
  const auto levels = static_cast<std::int64_t>(model.vae->config().block_out_channels.size());
  const auto latent = [&](std::int64_t pixels) {
    return pixels > 0 ? pixels >> (levels - 1) : config.sample_size;
  };
  const std::vector<std::int64_t> shape = {config.in_channels, latent(options.height),
                                           latent(options.width)};
  const auto device = device_of(*model.unet);
  const double scaling = model.vae->config().scaling_factor;
  const auto& tower = model.towers.front();
  const auto scheduler = diffusion::make_scheduler(kScheduler, model.settings.scheduler_config);
  const auto total = static_cast<std::int64_t>(prompts.size());
  std::vector<Tensor> pictures;
  for (std::int64_t first = 0; first < total; first += options.batch) {
    const auto count = std::min(options.batch, total - first);
    const std::vector<std::string> part(prompts.begin() + first, prompts.begin() + first + count);
    diffusion::DenoiseInputs inputs{.unet = model.unet,
                                    .scheduler = scheduler.get(),
                                    .steps = options.steps,
                                    .noise = noise_of(options, first, count, shape),
                                    .cond = encode_captions(tower, part),
                                    .uncond = encode_captions(tower, {""}),
                                    .guidance_scale = options.guidance,
                                    .guidance = {.perturbed = options.perturbed},
                                    .dtype = kCompute};
    if (steering) {
      inputs.residuals = steer(steering->adapter, steering->conditions.narrow(0, first, count));
    }
    const auto latents = diffusion::denoise(inputs);
    pictures.push_back(
        from_network(model.vae->decode((latents / scaling).to(device, kCompute)).to(torch::kCPU)));
  }
  return torch::cat(pictures);
}

std::vector<std::string> sheet_prompts(const world::World& world) {
  constexpr std::size_t kSingles = 24, kPairs = 8;
  const auto subject = [&world](std::size_t i) {
    return world::with_article(world.classes[i % world.classes.size()].name);
  };
  const auto place = [&world](std::size_t i) {
    return i % 3 == 2
               ? "on " + world::with_article(world.colours[i / 3 % world.colours.size()].name +
                                             " background")
               : world.scenes[i % world.scenes.size()].phrase;
  };
  std::vector<std::string> prompts;
  const auto stride = std::max<std::size_t>(1, world.classes.size() / kSingles);
  for (std::size_t i = 0; i < kSingles; ++i) {
    prompts.push_back("a photo of " + subject(i * stride) + " " + place(i));
  }
  for (std::size_t i = 0; i < kPairs; ++i) {
    prompts.push_back(subject(3 * i) + " on the left and " + subject(5 * i + 7) + " on the right " +
                      place(i + 1));
  }
  return prompts;
}

Tensor contact_sheet(diffusion::Model model, const world::World& world,
                     const SampleOptions& options) {
  const auto pictures = sample_pictures(model, sheet_prompts(world), options);
  std::vector<Tensor> cells;
  for (std::int64_t i = 0; i < pictures.size(0); ++i) cells.push_back(pictures[i]);
  return io::make_grid(cells, kContactColumns, 2);
}

}  // namespace mos::pretrain
