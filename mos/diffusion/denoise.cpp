#include "mos/diffusion/denoise.h"

#include <fmt/core.h>

#include <array>

#include "mos/base/error.h"
#include "mos/base/random.h"
#include "mos/io/image.h"
#include "mos/io/state_dict.h"

namespace mos::diffusion {
namespace {

torch::Tensor parameter_of(const torch::nn::Module& module) { return module.parameters().front(); }

/// Device and dtype of what `module` computes with.
torch::TensorOptions arithmetic_of(const torch::nn::Module& module) {
  const auto weight = parameter_of(module);
  return weight.options().dtype(nn::working_dtype(weight));
}

/// `text` for `batch` pictures; a single entry is repeated.
nn::Conditioning for_batch(const nn::Conditioning& text, std::int64_t batch, const char* what) {
  const auto& context = text.context;
  if (!context.defined() || (context.dim() != 3 && context.dim() != 4) ||
      (text.size() != batch && text.size() != 1)) {
    throw Error(ErrorKind::kMismatch,
                fmt::format("cannot sample {} pictures with {} text states of shape {}", batch,
                            what, context.defined() ? io::shape_text(context.sizes()) : "nothing"));
  }
  return text.expand(batch);
}

/// The text of one network call: cond alone, or uncond and cond one after the other.
nn::Conditioning join_texts(const DenoiseInputs& inputs, bool guided) {
  const auto batch = inputs.noise.size(0);
  auto cond = for_batch(inputs.cond, batch, "conditional");
  if (!guided) return cond;
  auto uncond = for_batch(inputs.uncond, batch, "unconditional");
  if (cond.is_layerwise() != uncond.is_layerwise()) {
    const auto texts = (cond.is_layerwise() ? cond : uncond).context.size(1);
    cond = cond.layerwise(texts);
    uncond = uncond.layerwise(texts);
  }
  if (cond.context.sizes() != uncond.context.sizes()) {
    throw Error(
        ErrorKind::kMismatch,
        fmt::format("conditional text states {} and unconditional ones {} differ in shape",
                    io::shape_text(cond.context.sizes()), io::shape_text(uncond.context.sizes())));
  }
  return nn::cat(std::array{uncond, cond});
}

}  // namespace

torch::Tensor denoise(const DenoiseInputs& inputs, const StepCallback& on_step,
                      const CancelToken* cancel) {
  torch::NoGradGuard no_grad;
  auto unet = inputs.unet;
  auto& scheduler = *inputs.scheduler;
  auto compute = arithmetic_of(*unet);
  if (inputs.dtype) compute = compute.dtype(*inputs.dtype);
  const bool guided = inputs.guidance_scale > 1.0;
  const auto text = join_texts(inputs, guided).to(compute);

  scheduler.set_timesteps(inputs.steps);
  const auto& timesteps = scheduler.timesteps();
  auto latents = inputs.noise.to(compute.device(), torch::kFloat32) * scheduler.init_noise_sigma();
  for (std::size_t i = 0; i < timesteps.size(); ++i) {
    if (cancel != nullptr) cancel->check();
    const auto index = static_cast<std::int64_t>(i);
    auto input = scheduler.scale_model_input(latents, index).to(compute);
    if (guided) input = torch::cat({input, input});
    const auto timestep = torch::full({1}, timesteps[i], compute.dtype(torch::kFloat32));
    nn::UNetResiduals residuals;
    if (inputs.residuals) {
      const auto total = static_cast<std::int64_t>(timesteps.size());
      residuals = inputs.residuals({input, timestep, text, index, total});
    }
    auto output = unet->forward(input, timestep, text, residuals).to(torch::kFloat32);
    if (guided) {
      const auto halves = output.chunk(2);
      output = halves[0] + inputs.guidance_scale * (halves[1] - halves[0]);
    }
    latents = scheduler.step(output, index, latents, inputs.step_noise);
    if (on_step) {
      on_step({index, static_cast<std::int64_t>(timesteps.size()), timesteps[i], latents});
    }
  }
  return latents;
}

std::vector<at::Generator> picture_generators(std::uint64_t seed, std::int64_t pictures) {
  std::vector<at::Generator> generators;
  for (std::int64_t i = 0; i < pictures; ++i) {
    generators.push_back(seeded_generator(seed + static_cast<std::uint64_t>(i)));
  }
  return generators;
}

torch::Tensor initial_noise(std::vector<at::Generator>& generators, at::IntArrayRef shape) {
  std::vector<torch::Tensor> pictures;
  for (auto& generator : generators) pictures.push_back(randn(shape, generator));
  return torch::stack(pictures);
}

std::vector<std::int64_t> latent_shape(const Model& model, std::int64_t height,
                                       std::int64_t width) {
  constexpr std::int64_t kLargestSide = 16384;  // of what can be read again: io::kMaxPixels
  const auto factor = model.downscale();
  if (height > kLargestSide || width > kLargestSide) {
    throw Error(ErrorKind::kUsage,
                fmt::format("cannot make a picture of {} × {} pixels: {} are the most for a side",
                            height, width, kLargestSide));
  }
  if (height < 1 || width < 1 || height % factor != 0 || width % factor != 0) {
    throw Error(ErrorKind::kUsage,
                fmt::format("cannot make a picture of {} × {} pixels: this model needs multiples "
                            "of {}",
                            height, width, factor));
  }
  return {model.unet->config().in_channels, height / factor, width / factor};
}

torch::Tensor decode_latents(const nn::AutoencoderKL& vae, const torch::Tensor& latents) {
  torch::NoGradGuard no_grad;
  auto decoder = vae;
  const auto scaled = (latents / decoder->config().scaling_factor).to(arithmetic_of(*decoder));
  std::vector<torch::Tensor> pictures;
  for (std::int64_t i = 0; i < scaled.size(0); ++i) {
    pictures.push_back(io::to_uint8_hwc(decoder->decode(scaled.slice(0, i, i + 1))));
  }
  return torch::stack(pictures);
}

torch::Tensor encode_pictures(const nn::AutoencoderKL& vae, const torch::Tensor& pictures,
                              const NoiseSource* noise) {
  auto encoder = vae;
  const auto known = encoder->encode(pictures.to(arithmetic_of(*encoder)));
  const auto latents =
      noise == nullptr ? known.mean : known.mean + known.std() * noise->like(known.mean);
  return latents.to(torch::kFloat32) * encoder->config().scaling_factor;
}

}  // namespace mos::diffusion
