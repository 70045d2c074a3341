#include "mos/diffusion/euler.h"

#include <algorithm>
#include <cmath>

namespace mos::diffusion {
EulerDiscreteScheduler::EulerDiscreteScheduler(SchedulerConfig& config)
    : Scheduler(config.take_noise_schedule()), grid_(ConfiguredGrid::take_from(config)) {
  // The last level of a schedule with zero terminal SNR has an infinite σ.
  schedule_.keep_last_alpha_positive();
  const auto table = floats_of(schedule_.sigmas());
  // Until plan() is called; init_noise_sigma() may be asked before, as in diffusers.
  sigmas_.assign(table.rbegin(), table.rend());
}

double EulerDiscreteScheduler::init_noise_sigma() const {
  const double largest = *std::max_element(sigmas_.begin(), sigmas_.end());
  // diffusers: with leading spacing the first latents have the variance σ² + 1 of noise on a
  // picture, else σ² alone.
  if (grid_.spacing != TimestepSpacing::kLeading) return largest;
  return std::sqrt(largest * largest + 1.0);
}

std::vector<double> EulerDiscreteScheduler::plan(std::int64_t steps) {
  auto grid = grid_.at(schedule_, steps);
  sigmas_.assign(grid.sigmas.begin(), grid.sigmas.end());
  // The last step ends on the picture.
  sigmas_.push_back(0.0F);
  return std::move(grid.timesteps);
}

torch::Tensor EulerDiscreteScheduler::noised(const torch::Tensor& original,
                                             const torch::Tensor& noise, std::int64_t index) const {
  return original + sigmas_.at(static_cast<std::size_t>(index)) * noise;
}

torch::Tensor EulerDiscreteScheduler::scale_model_input(const torch::Tensor& sample,
                                                        std::int64_t index) const {
  const float sigma = sigmas_.at(static_cast<std::size_t>(index));
  // The network was trained on samples of variance 1; here they have σ² + 1.
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
      // v = α·ε - σ'·x0 solved for x0, with σ = σ'/α.
      original = model_output * (-sigma / std::sqrt(squared)) + sample / squared;
      break;
    case PredictionType::kSample:
      original = model_output;
      break;
  }
  // dx/dσ = (x - x0)/σ, the probability flow of arXiv 2206.00364, and one straight step along it.
  return sample + (sample - original) / sigma * (next - sigma);
}

}  // namespace mos::diffusion
