#include "mos/diffusion/denoise.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "mos/base/big_blocks.h"
#include "mos/base/counts.h"
#include "mos/base/error.h"
#include "mos/base/random.h"
#include "mos/diffusion/painted.h"
#include "mos/diffusion/perturbed_attention.h"
#include "mos/diffusion/sigma/sigma_grid.h"
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

void check_channels(const DenoiseInputs& inputs) {
  auto unet = inputs.unet;
  const auto& beside = inputs.start.beside;
  const auto given = inputs.noise.size(1) + (beside.defined() ? beside.size(1) : 0);
  if (given == unet->config().in_channels) return;
  throw Error(ErrorKind::kMismatch,
              fmt::format("this U-Net reads {} channels, not {}: an inpainting model (9) is for "
                          "painting, and not for tuning or fusing",
                          unet->config().in_channels, given));
}

/// Guided by the paper's equation and, with φ, closer to the deviation of `cond` (arXiv
/// 2305.08891).
torch::Tensor guide(const torch::Tensor& output, double scale, double rescale) {
  const auto halves = output.chunk(2);
  const auto guided = halves[0] + scale * (halves[1] - halves[0]);
  if (rescale == 0.0) return guided;
  const auto deviation = [](const torch::Tensor& x) {
    return x.flatten(1).std(1).view({-1, 1, 1, 1});
  };
  const auto like_cond = guided * (deviation(halves[1]) / deviation(guided));
  return rescale * like_cond + (1.0 - rescale) * guided;
}

/// One run of sampling.
class Run {
 public:
  Run(const DenoiseInputs& inputs, torch::TensorOptions compute)
      : inputs_(inputs),
        unet_(inputs.unet),
        scheduler_(*inputs.scheduler),
        compute_(compute),
        guided_(inputs.guidance_scale > 1.0),
        text_(join_texts(inputs, guided_).to(compute)),
        noise_(inputs.noise.to(compute.device(), torch::kFloat32)) {
    scheduler_.set_timesteps(inputs.steps);
    const auto& start = inputs.start;
    for (const auto* part : {&start.latents, &start.mask, &start.beside}) {
      parts_.push_back(part->defined() ? part->to(compute.device(), torch::kFloat32)
                                       : torch::Tensor());
    }
  }

  std::int64_t calls() const { return static_cast<std::int64_t>(scheduler_.timesteps().size()); }

  /// The call that the run begins with.
  std::int64_t first_call() const {
    const double strength = inputs_.start.strength;
    if (!inputs_.start.latents.defined()) return 0;
    if (const auto first = first_call_of(scheduler_, strength)) return *first;
    throw Error(ErrorKind::kUsage,
                fmt::format("a strength of {} takes none of {} steps: paint with {} steps or more, "
                            "or with a larger strength",
                            strength, scheduler_.step_starts().size(), std::ceil(1.0 / strength)));
  }

  /// Planned steps of this run before the one that call `index` is a part of.
  std::int64_t steps_before(std::int64_t index) const {
    return scheduler_.step_of(index) - first_step_;
  }

  /// Those that are done after it.
  std::int64_t steps_done(std::int64_t index) const {
    return index + 1 < calls() ? steps_before(index + 1) : steps_before(index) + 1;
  }

  torch::Tensor begin(std::int64_t first) {
    first_step_ = scheduler_.step_of(first);
    const bool from_noise = parts_[1].defined() && inputs_.start.strength >= 1.0;
    if (!parts_[0].defined() || from_noise) return noise_ * scheduler_.init_noise_sigma();
    return scheduler_.noised(parts_[0], noise_, first);
  }

  torch::Tensor after_call(std::int64_t index, const torch::Tensor& given) {
    const double timestep = scheduler_.timesteps()[static_cast<std::size_t>(index)];
    const bool now = guided_ && is_guided_at(timestep);
    const auto latents = inputs_.steer ? steered(index, timestep, given) : given;
    const auto output = predict_at(index, timestep, latents, now);
    before_ = latents;
    output_ = output;
    const auto next = scheduler_.step(output, index, latents, inputs_.step_noise);
    if (!parts_[1].defined()) return next;
    const auto kept =
        index + 1 < calls() ? scheduler_.noised(parts_[0], noise_, index + 1) : parts_[0];
    return parts_[1] * next + (1.0 - parts_[1]) * kept;
  }

  /// x_0 as the last call has said it.
  torch::Tensor seen_at(std::int64_t index) const {
    const double timestep = scheduler_.timesteps()[static_cast<std::size_t>(index)];
    const auto& schedule = scheduler_.noise_schedule();
    const auto sample = scheduler_.scale_model_input(before_, index);  // √ᾱ x_0 + √(1−ᾱ) ε
    return predict(schedule.prediction_type(), output_, sample,
                   schedule.alpha_cumprod(static_cast<std::int64_t>(std::lround(timestep))))
        .sample;
  }

 private:
  bool is_guided_at(double timestep) const {
    const auto& limits = inputs_.guidance;
    if (limits.sigma_end <= 0.0 && std::isinf(limits.sigma_start)) return true;
    const double sigma = NoiseLevels(scheduler_.noise_schedule()).at(timestep);
    return sigma <= limits.sigma_start && sigma > limits.sigma_end;
  }

  /// A call with `input` [B,C,h,w], in both halves or the prompt's alone.
  NetworkCall call_at(std::int64_t index, double time, torch::Tensor input, bool both) const {
    if (both) input = torch::cat({input, input});
    const auto pictures = noise_.size(0);
    const auto text = guided_ && !both ? text_.narrow(pictures, pictures) : text_;
    const auto timestep = torch::full({1}, time, compute_.dtype(torch::kFloat32));
    return {std::move(input), timestep, text, index, calls(), both, steps_before(index)};
  }

  torch::Tensor run_network(NetworkCall call) {
    call.input = call.input.to(compute_);
    nn::UNetResiduals residuals;
    // Adapters know nothing of what an inpainting U-Net reads beside the sample.
    if (inputs_.residuals) residuals = inputs_.residuals(call);
    if (parts_[2].defined()) {
      auto beside = parts_[2].to(compute_);
      // Of each half the same; a single picture's, where the call is of one.
      if (beside.size(0) > 1) beside = beside.repeat({call.has_both_halves ? 2 : 1, 1, 1, 1});
      auto shape = beside.sizes().vec();
      shape.front() = call.input.size(0);
      call.input = torch::cat({call.input, beside.expand(shape)}, 1);
    }
    std::optional<PerturbedAttention> perturbed;
    if (call.has_both_halves && inputs_.guidance.perturbed > 0.0) {
      perturbed.emplace(unet_, inputs_.guidance.perturbed);
    }
    return unet_->forward(call.input, call.timestep, call.text, residuals).to(torch::kFloat32);
  }

  Network network() {
    return [this](const NetworkCall& call) { return run_network(call); };
  }

  torch::Tensor steered(std::int64_t index, double timestep, const torch::Tensor& latents) {
    const auto sample = scheduler_.scale_model_input(latents, index);
    const auto moved = inputs_.steer(call_at(index, timestep, sample, false), network());
    if (moved.is_same(sample)) return latents;
    const auto factor = scheduler_.scale_model_input(torch::ones({1}, sample.options()), index);
    return latents + (moved - sample) / factor;  // a scheduler's input is its sample, scaled
  }

  /// What the network says, guided; float32.
  torch::Tensor predict_at(std::int64_t index, double timestep, const torch::Tensor& latents,
                           bool now) {
    const auto input = scheduler_.scale_model_input(latents, index).to(compute_);
    const auto call = call_at(index, timestep, input, now);
    const auto output = inputs_.predict ? inputs_.predict(call, network()) : run_network(call);
    return now ? guide(output, inputs_.guidance_scale, inputs_.guidance.rescale) : output;
  }

  const DenoiseInputs& inputs_;
  nn::UNet2DConditionModel unet_;
  Scheduler& scheduler_;
  torch::TensorOptions compute_;
  bool guided_;
  nn::Conditioning text_;
  torch::Tensor noise_;
  torch::Tensor before_, output_;     ///< Of the last call.
  std::int64_t first_step_ = 0;       ///< That the run begins with.
  std::vector<torch::Tensor> parts_;  ///< Latents, mask and what is beside, undefined without.
};

}  // namespace

std::optional<std::int64_t> first_call_of(const Scheduler& scheduler, double strength) {
  if (strength >= 1.0) return 0;
  const auto starts = scheduler.step_starts();
  const auto taken = static_cast<std::size_t>(static_cast<double>(starts.size()) * strength);
  if (taken == 0) return std::nullopt;
  return starts[starts.size() - taken];
}

torch::Tensor denoise(const DenoiseInputs& inputs, const StepCallback& on_step,
                      const CancelToken* cancel) {
  torch::NoGradGuard no_grad;
  check_channels(inputs);
  auto compute = arithmetic_of(*inputs.unet);
  if (inputs.dtype) compute = compute.dtype(*inputs.dtype);
  Run run(inputs, compute);
  const auto first = run.first_call();
  auto latents = run.begin(first);
  const auto end =
      inputs.most_calls > 0 ? std::min(run.calls(), first + inputs.most_calls) : run.calls();
  for (auto index = first; index < end; ++index) {
    if (cancel != nullptr) cancel->check();
    latents = run.after_call(index, latents);
    if (on_step) {
      const double timestep = inputs.scheduler->timesteps()[static_cast<std::size_t>(index)];
      on_step({index - first, run.calls() - first, timestep, latents,
               [&run, index] { return run.seen_at(index); }, run.steps_done(index)});
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
  const auto factor = model.downscale();
  if (height > kLargestSide || width > kLargestSide) {
    throw Error(ErrorKind::kUsage,
                fmt::format("cannot make a picture of {} x {} pixels (width x height): {} are the "
                            "most for a side",
                            width, height, kLargestSide));
  }
  const auto near = [factor](std::int64_t side) {
    return std::max<std::int64_t>(1, (side + factor / 2) / factor) * factor;
  };
  if (height < 1 || width < 1 || height % factor != 0 || width % factor != 0) {
    throw Error(ErrorKind::kUsage,
                fmt::format("cannot make a picture of {} x {} pixels (width x height): this model "
                            "needs multiples of {}, {} x {} for example",
                            width, height, factor, near(width), near(height)));
  }
  return {model.vae->config().latent_channels, height / factor, width / factor};
}

torch::Tensor decode_latents(const nn::AutoencoderKL& vae, const torch::Tensor& latents) {
  torch::NoGradGuard no_grad;
  const BigBlocksGoBack big_blocks_go_back;
  auto decoder = vae;
  const auto scaled = (latents / decoder->config().scaling_factor).to(arithmetic_of(*decoder));
  std::vector<torch::Tensor> pictures;
  for (std::int64_t i = 0; i < scaled.size(0); ++i) {
    const auto picture = decoder->decode(scaled.slice(0, i, i + 1));
    check_painted(picture);
    pictures.push_back(io::to_uint8_hwc(picture));
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
