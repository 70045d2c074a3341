#include "mos/diffusion/euler.h"

#include <algorithm>
#include <cmath>

namespace mos::diffusion {
namespace {

/// numpy.interp of `table` at a fractional position.
double interpolate(const std::vector<float>& table, double position) {
  const auto last = static_cast<double>(table.size() - 1);
  const double low = std::floor(std::clamp(position, 0.0, last));
  const auto index = static_cast<std::size_t>(low);
  const double below = table[index];
  if (index + 1 == table.size()) return below;
  return below + (static_cast<double>(table[index + 1]) - below) * (position - low);
}

/// Noise levels equally far apart in log σ, largest first.
std::vector<double> log_spaced(double sigma_min, double sigma_max, std::int64_t count) {
  auto sigmas = linspace(std::log(sigma_max), std::log(sigma_min), count);
  for (auto& sigma : sigmas) sigma = std::exp(sigma);
  return sigmas;
}

}  // namespace

EulerDiscreteScheduler::EulerDiscreteScheduler(SchedulerConfig& config)
    : Scheduler(config.take_noise_schedule()),
      spacing_(config.take_spacing("linspace")),
      steps_offset_(config.take<std::int64_t>("steps_offset", 0)),
      interpolation_(config.take_choice("interpolation_type", "linear", {"linear", "log_linear"})),
      karras_(config.take("use_karras_sigmas", false)) {
  config.pin("use_exponential_sigmas", false);
  config.pin("use_beta_sigmas", false);
  config.pin("timestep_type", "discrete");
  config.pin("final_sigmas_type", "zero");
  config.pin("sigma_min", nullptr);
  config.pin("sigma_max", nullptr);
  schedule_.keep_last_alpha_positive();
  const auto table = floats_of(schedule_.sigmas());
  sigmas_.assign(table.rbegin(), table.rend());
}

double EulerDiscreteScheduler::init_noise_sigma() const {
  const double largest = *std::max_element(sigmas_.begin(), sigmas_.end());
  if (spacing_ != TimestepSpacing::kLeading) return largest;
  return std::sqrt(largest * largest + 1.0);
}

std::vector<double> EulerDiscreteScheduler::spread(std::int64_t steps) const {
  if (spacing_ != TimestepSpacing::kLinspace) {
    return spaced_timesteps(spacing_, schedule_.size(), steps, steps_offset_);
  }
  auto timesteps = linspace(0, static_cast<double>(schedule_.size() - 1), steps);
  std::reverse(timesteps.begin(), timesteps.end());
  return timesteps;
}

std::vector<double> EulerDiscreteScheduler::plan(std::int64_t steps) {
  const auto table = floats_of(schedule_.sigmas());
  auto timesteps = spread(steps);
  std::vector<double> levels;
  if (interpolation_ == "linear") {
    for (const double timestep : timesteps) levels.push_back(interpolate(table, timestep));
  } else {
    levels = log_spaced(table.front(), table.back(), steps + 1);
  }
  if (karras_) {
    levels = karras_sigmas(levels.back(), levels.front(), steps);
    std::vector<double> log_sigmas;
    for (const float sigma : table) log_sigmas.push_back(std::log(sigma));
    for (std::size_t i = 0; i < levels.size(); ++i) {
      timesteps[i] = timestep_of_sigma(levels[i], log_sigmas);
    }
  }
  sigmas_.assign(levels.begin(), levels.end());
  sigmas_.push_back(0.0F);
  return timesteps;
}

torch::Tensor EulerDiscreteScheduler::scale_model_input(const torch::Tensor& sample,
                                                        std::int64_t index) const {
  const float sigma = sigmas_.at(static_cast<std::size_t>(index));
  return sample / std::sqrt(sigma * sigma + 1.0F);
}

torch::Tensor EulerDiscreteScheduler::step(const torch::Tensor& model_output, std::int64_t index,
                                           const torch::Tensor& sample,
                                           const NoiseSource& /*noise*/) {
  const float sigma = sigmas_.at(static_cast<std::size_t>(index));
  const float next = sigmas_.at(static_cast<std::size_t>(index) + 1);
  const float squared = sigma * sigma + 1.0F;
  torch::Tensor original;
  switch (schedule_.prediction_type()) {
    case PredictionType::kEpsilon:
      original = sample - sigma * model_output;
      break;
    case PredictionType::kVelocity:
      original = model_output * (-sigma / std::sqrt(squared)) + sample / squared;
      break;
    case PredictionType::kSample:
      original = model_output;
      break;
  }
  return sample + (sample - original) / sigma * (next - sigma);
}

}  // namespace mos::diffusion
