#include "mos/diffusion/ddpm.h"

#include <algorithm>
#include <cmath>

namespace mos::diffusion {

DDPMScheduler::DDPMScheduler(SchedulerConfig& config)
    : Scheduler(config.take_noise_schedule()),
      clipping_(SampleClipping::take_from(config, /*clip_by_default=*/true)),
      variance_type_(config.take_choice("variance_type", "fixed_small",
                                        {"fixed_small", "fixed_small_log", "fixed_large"})),
      spacing_(config.take_spacing("leading")),
      steps_offset_(config.take_steps_offset()) {}

std::vector<double> DDPMScheduler::plan(std::int64_t steps) {
  stride_ = schedule_.size() / steps;
  return spaced_timesteps(spacing_, schedule_.size(), steps, steps_offset_);
}

float DDPMScheduler::standard_deviation(float alpha, float previous_alpha) const {
  constexpr float kSmallestVariance = 1e-20F;
  const float beta = 1.0F - alpha / previous_alpha;
  if (variance_type_ == "fixed_large") return std::sqrt(std::max(beta, kSmallestVariance));
  const float posterior = (1.0F - previous_alpha) / (1.0F - alpha) * beta;
  return std::sqrt(std::max(posterior, kSmallestVariance));
}

torch::Tensor DDPMScheduler::step(const torch::Tensor& model_output, std::int64_t index,
                                  const torch::Tensor& sample, const NoiseSource& noise) {
  const auto timestep = timestep_at(index);
  const auto previous = timestep - stride_;
  const float alpha = schedule_.alpha_cumprod(timestep);
  const float previous_alpha = previous >= 0 ? schedule_.alpha_cumprod(previous) : 1.0F;
  const float step_alpha = alpha / previous_alpha;
  const float sample_weight = std::sqrt(step_alpha) * (1.0F - previous_alpha) / (1.0F - alpha);
  const float original_weight = std::sqrt(previous_alpha) * (1.0F - step_alpha) / (1.0F - alpha);

  const auto original =
      clipping_.apply(predict(schedule_.prediction_type(), model_output, sample, alpha).sample);
  const auto mean = original_weight * original + sample_weight * sample;
  if (timestep == 0) return mean;
  return mean + standard_deviation(alpha, previous_alpha) * noise.like(sample);
}

}  // namespace mos::diffusion
