#include "mos/diffusion/ddim.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>

#include "mos/base/error.h"

namespace mos::diffusion {

DDIMScheduler::DDIMScheduler(SchedulerConfig& config, double eta)
    : Scheduler(config.take_noise_schedule()),
      clipping_(SampleClipping::take_from(config, /*clip_by_default=*/true)),
      final_alpha_(config.take("set_alpha_to_one", true) ? 1.0F : schedule_.alpha_cumprod(0)),
      spacing_(config.take_spacing("leading")),
      steps_offset_(config.take_steps_offset()),
      eta_(static_cast<float>(eta)) {
  if (!(eta >= 0.0 && eta <= 1.0)) {
    throw Error(ErrorKind::kUsage, fmt::format("eta is {}, expected 0 to 1", eta));
  }
}

std::vector<double> DDIMScheduler::plan(std::int64_t steps) {
  stride_ = schedule_.size() / steps;
  return spaced_timesteps(spacing_, schedule_.size(), steps, steps_offset_);
}

torch::Tensor DDIMScheduler::step(const torch::Tensor& model_output, std::int64_t index,
                                  const torch::Tensor& sample, const NoiseSource& noise) {
  const auto timestep = timestep_at(index);
  const auto previous = timestep - stride_;
  const float alpha = schedule_.alpha_cumprod(timestep);
  const float previous_alpha = previous >= 0 ? schedule_.alpha_cumprod(previous) : final_alpha_;

  const auto predicted = predict(schedule_.prediction_type(), model_output, sample, alpha);
  const auto original = clipping_.apply(predicted.sample);
  const float variance = (1.0F - previous_alpha) / (1.0F - alpha) * (1.0F - alpha / previous_alpha);
  const float deviation = eta_ * std::sqrt(variance);
  const float direction = std::sqrt(std::max(0.0F, 1.0F - previous_alpha - deviation * deviation));
  const auto mean = std::sqrt(previous_alpha) * original + direction * predicted.noise;
  return eta_ > 0 ? mean + deviation * noise.like(sample) : mean;
}

}  // namespace mos::diffusion
