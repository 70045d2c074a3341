#pragma once

#include <ATen/core/Generator.h>
#include <torch/types.h>

#include <cstdint>
#include <functional>
#include <limits>
#include <optional>
#include <string>
#include <vector>

#include "mos/base/progress.h"
#include "mos/diffusion/model.h"
#include "mos/diffusion/scheduler.h"
#include "mos/nn/conditioning.h"
#include "mos/nn/unet.h"
#include "mos/nn/vae.h"

/// From noise to pictures.
namespace mos::diffusion {

/// What one step of the loop has just made.
struct DenoiseStep {
  std::int64_t index = 0;  ///< Calls of the network before this one.
  std::int64_t total = 0;  ///< Calls in all.
  double timestep = 0.0;
  torch::Tensor latents;  ///< [B,C,h,w] after the step; aliases the loop's.
  /// The picture that the network saw in this call, [B,C,h,w] scaled latents; worked out when
  /// asked.
  std::function<torch::Tensor()> seen = {};
  /// Planned steps that are done: calls, but for methods with two or more of them in a step.
  std::int64_t steps_done = 0;
};
using StepCallback = std::function<void(const DenoiseStep&)>;

/// One call of the U-Net.
struct NetworkCall {
  torch::Tensor input;           ///< [2B or B,C,h,w], the unconditional half first.
  torch::Tensor timestep;        ///< [1]
  nn::Conditioning text;         ///< Of 2B or B pictures.
  std::int64_t index = 0;        ///< Calls before this one.
  std::int64_t total = 0;        ///< Calls in all.
  bool has_both_halves = false;  ///< Guidance is on in this call.
  std::int64_t step = 0;         ///< Planned steps of this run before the one of this call.
};

/// What adapters and ControlNets add at one call.
using ResidualCallback = std::function<nn::UNetResiduals(const NetworkCall& call)>;

/// Runs the network with what adapters add to such a call; float32. Differentiable in `call.input`
/// unless gradients are off.
using Network = std::function<torch::Tensor(const NetworkCall& call)>;

/// Moves the sample before a step: gives another one in the place of `call.input` [B,C,h,w], which
/// is scaled as the network reads it (float32), or that very tensor. The call has the prompt's half
/// alone. Gradients are off when it is called.
using SteerCallback = std::function<torch::Tensor(const NetworkCall& call, const Network& network)>;

/// Says what the network says of a call in its place, in the same shape. May run it often.
using PredictCallback =
    std::function<torch::Tensor(const NetworkCall& call, const Network& network)>;

/// What guidance does beside its scale.
struct GuidanceOptions {
  /// φ of arXiv 2305.08891, eq. 16: how much of the conditional prediction's deviation is given
  /// back to the guided one; 0 none.
  double rescale = 0.0;
  /// Guidance is on for noise levels σ = √((1−ᾱ)/ᾱ) up to `sigma_start` and above `sigma_end`
  /// (arXiv 2404.07724); elsewhere only the conditional half is run.
  double sigma_start = std::numeric_limits<double>::infinity();
  double sigma_end = 0.0;
  /// Share of self-attention that the unconditional half goes without, 0…1; see
  /// PerturbedAttention. Above 0 the U-Net's processors change for the time of each guided call.
  double perturbed = 0.0;
};

/// A picture to begin with, and which parts of it stay.
struct PictureStart {
  torch::Tensor latents;  ///< [B or 1,C,h,w], scaled; undefined: noise alone.
  /// Share of the steps that are taken, from the noise of where they begin (diffusers' img2img).
  double strength = 1.0;
  /// [B or 1,1,h,w] in 0…1: 1 is painted, 0 stays as it is; undefined: all is painted. With
  /// strength 1 what is painted begins as noise alone.
  torch::Tensor mask;
  /// [B or 1,1+C,h,w], what an inpainting U-Net reads beside the sample: mask and masked picture.
  torch::Tensor beside;
};

struct DenoiseInputs {
  nn::UNet2DConditionModel unet{nullptr};
  Scheduler* scheduler = nullptr;  ///< Its timesteps are set by denoise().
  std::int64_t steps = 50;
  torch::Tensor noise;          ///< [B,C,h,w], N(0,1); see initial_noise.
  nn::Conditioning cond;        ///< One entry serves the whole batch.
  nn::Conditioning uncond;      ///< The same; not needed without guidance.
  double guidance_scale = 7.5;  ///< Guidance only above 1, as in diffusers.
  GuidanceOptions guidance;
  PictureStart start;
  NoiseSource step_noise;      ///< For stochastic schedulers.
  ResidualCallback residuals;  ///< Empty: none.
  SteerCallback steer;         ///< Empty: steps are as they are.
  PredictCallback predict;     ///< Empty: one run of the network.
  /// Calls after which it ends, wherever it is then; 0: at the end of the schedule.
  std::int64_t most_calls = 0;
  /// Of the network's arithmetic; empty: nn::working_dtype of its weights.
  std::optional<torch::ScalarType> dtype;
};

/// The call that a run of the last `strength` share of the planned steps begins with; nothing where
/// that is none of them. Throws kUsage as Scheduler::step_starts does.
std::optional<std::int64_t> first_call_of(const Scheduler& scheduler, double strength);

/// Classifier-free guided sampling: latents [B,C,h,w] float32 on the U-Net's device. The scheduler
/// computes in float32.
/// Throws mos::Error: kUsage for impossible steps, kMismatch for texts that fit neither each other
/// nor the batch, kCancelled.
torch::Tensor denoise(const DenoiseInputs& inputs, const StepCallback& on_step = {},
                      const CancelToken* cancel = nullptr);

/// One generator per picture, seeded with seed, seed + 1, …: a batch is made of the very pictures
/// that its seeds make alone.
std::vector<at::Generator> picture_generators(std::uint64_t seed, std::int64_t pictures);

/// N(0,1) of `shape` [C,h,w] for each generator: [B,C,h,w] float32 on the CPU.
torch::Tensor initial_noise(std::vector<at::Generator>& generators, at::IntArrayRef shape);

/// Latent shape [C,h,w] for pictures of height × width pixels.
/// Throws mos::Error(kUsage) unless both are positive multiples of the VAE's downscale.
std::vector<std::int64_t> latent_shape(const Model& model, std::int64_t height, std::int64_t width);

/// Latents [B,C,h,w] (scaled) as pictures, uint8 [B,H,W,3] on the CPU. One at a time, so memory
/// does not grow with the batch. Throws mos::Error(kMismatch) for a picture with NaN or infinity.
torch::Tensor decode_latents(const nn::AutoencoderKL& vae, const torch::Tensor& latents);

/// Scaled latents of pictures [B,3,H,W] in -1…1: the mean, or a draw when there is noise.
torch::Tensor encode_pictures(const nn::AutoencoderKL& vae, const torch::Tensor& pictures,
                              const NoiseSource* noise = nullptr);

}  // namespace mos::diffusion
