#include "mos/diffusion/consistency.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>

#include "mos/base/error.h"

namespace mos::diffusion {

using torch::Tensor;

namespace {

constexpr std::int64_t kOriginalSteps = 50;  // of both papers' distillations

}  // namespace

std::vector<double> distilled_timesteps(std::int64_t train_steps, std::int64_t original_steps,
                                        std::int64_t steps) {
  if (original_steps < 1 || original_steps > train_steps) {
    throw Error(ErrorKind::kFormat, fmt::format("original_inference_steps is {}, expected 1 to {}",
                                                original_steps, train_steps));
  }
  if (steps > original_steps) {
    throw Error(ErrorKind::kUsage,
                fmt::format("{} steps are more than the {} that the network was distilled on; few "
                            "are enough for it, say 4 to 8",
                            steps, original_steps));
  }
  const auto stride = train_steps / original_steps;
  std::vector<double> timesteps;
  for (std::int64_t i = 0; i < steps; ++i) {
    const auto back = i * original_steps / steps;  // of the original ones, from the noisy end
    timesteps.push_back(static_cast<double>((original_steps - back) * stride - 1));
  }
  return timesteps;
}

LCMScheduler::LCMScheduler(SchedulerConfig& config)
    : Scheduler(config.take_noise_schedule()),
      clipping_(SampleClipping::take_from(config, /*clip_by_default=*/true)),
      original_steps_(config.take<std::int64_t>("original_inference_steps", kOriginalSteps)),
      timestep_scaling_(config.take("timestep_scaling", 10.0)) {}

std::vector<double> LCMScheduler::plan(std::int64_t steps) {
  return distilled_timesteps(schedule_.size(), original_steps_, steps);
}

Tensor LCMScheduler::step(const Tensor& model_output, std::int64_t index, const Tensor& sample,
                          const NoiseSource& noise) {
  constexpr double kDataVariance = 0.25;  // σ_data = 0.5
  const auto timestep = timestep_at(index);
  const float alpha = schedule_.alpha_cumprod(timestep);
  const auto predicted = predict(schedule_.prediction_type(), model_output, sample, alpha);
  const double scaled = static_cast<double>(timestep) * timestep_scaling_;
  const double total = scaled * scaled + kDataVariance;
  const auto picture = (scaled / std::sqrt(total)) * clipping_.apply(predicted.sample) +
                       (kDataVariance / total) * sample;
  if (index + 1 == static_cast<std::int64_t>(timesteps_.size())) return picture;
  const double next = schedule_.alpha_cumprod(timestep_at(index + 1));
  return std::sqrt(next) * picture + std::sqrt(1.0 - next) * noise.like(sample);
}

TCDScheduler::TCDScheduler(SchedulerConfig& config, double gamma)
    : Scheduler(config.take_noise_schedule()),
      clipping_(SampleClipping::take_from(config, /*clip_by_default=*/true)),
      original_steps_(config.take<std::int64_t>("original_inference_steps", kOriginalSteps)),
      gamma_(gamma) {
  if (!(gamma >= 0.0 && gamma <= 1.0)) {
    throw Error(ErrorKind::kUsage, fmt::format("the noise of tcd is {}, expected 0 to 1", gamma));
  }
}

std::vector<double> TCDScheduler::plan(std::int64_t steps) {
  return distilled_timesteps(schedule_.size(), original_steps_, steps);
}

Tensor TCDScheduler::step(const Tensor& model_output, std::int64_t index, const Tensor& sample,
                          const NoiseSource& noise) {
  const auto timestep = timestep_at(index);
  const bool is_last = index + 1 == static_cast<std::int64_t>(timesteps_.size());
  const auto next = is_last ? 0 : timestep_at(index + 1);
  const auto between =
      static_cast<std::int64_t>(std::floor((1.0 - gamma_) * static_cast<double>(next)));
  const auto predicted =
      predict(schedule_.prediction_type(), model_output, sample, schedule_.alpha_cumprod(timestep));
  const double lower = schedule_.alpha_cumprod(between), upper = schedule_.alpha_cumprod(next);
  const auto moved = std::sqrt(lower) * clipping_.apply(predicted.sample) +
                     std::sqrt(1.0 - lower) * predicted.noise;
  if (is_last || gamma_ == 0) return moved;
  const double kept = upper / lower;
  return std::sqrt(kept) * moved + std::sqrt(1.0 - kept) * noise.like(sample);
}

}  // namespace mos::diffusion
