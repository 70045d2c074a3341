#include "mos/diffusion/dpm_solver.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "mos/base/error.h"
#include "mos/diffusion/sigma/sigma_grid.h"

namespace mos::diffusion {
namespace {

constexpr std::size_t kFewSteps = 15;  // lower_order_final acts below this (diffusers)

std::int64_t checked_order(std::int64_t order) {
  if (order < 1 || order > 3) {
    throw Error(ErrorKind::kFormat, fmt::format("DPMSolverMultistepScheduler does not have "
                                                "solver_order = {}: expected 1, 2 or 3",
                                                order));
  }
  return order;
}

}  // namespace

DPMSolverMultistepScheduler::DPMSolverMultistepScheduler(SchedulerConfig& config)
    : Scheduler(config.take_noise_schedule()),
      order_(checked_order(config.take<std::int64_t>("solver_order", 2))),
      algorithm_(
          config.take_choice("algorithm_type", "dpmsolver++",
                             {"dpmsolver", "dpmsolver++", "sde-dpmsolver", "sde-dpmsolver++"})),
      plus_plus_(algorithm_.ends_with("++")),
      stochastic_(algorithm_.starts_with("sde")),
      heun_(config.take_choice("solver_type", "midpoint", {"midpoint", "heun"}) == "heun"),
      lower_order_final_(config.take("lower_order_final", true)),
      euler_at_final_(config.take("euler_at_final", false)),
      final_sigma_zero_(
          config.take_choice("final_sigmas_type", "sigma_min", {"sigma_min", "zero"}) == "zero"),
      karras_(config.take("use_karras_sigmas", false)),
      lambda_min_clipped_(
          config.take("lambda_min_clipped", -std::numeric_limits<double>::infinity())),
      spacing_(config.take_spacing("linspace")),
      steps_offset_(config.take_steps_offset()),
      clipping_(SampleClipping::take_from(config, /*clip_by_default=*/false)) {
  for (const char* key : {"use_lu_lambdas", "use_exponential_sigmas", "use_beta_sigmas",
                          "use_flow_sigmas", "use_dynamic_shifting"}) {
    config.pin(key, false);
  }
  if (config.take<std::string>("variance_type", "").starts_with("learned")) {
    config.pin("variance_type", nullptr);
  }
  // A third order with noise has no formula here.
  if (stochastic_ && order_ == 3) config.pin("solver_order", 2);
  if (!plus_plus_ && final_sigma_zero_) config.pin("final_sigmas_type", "sigma_min");
  schedule_.keep_last_alpha_positive();
  const auto alpha = schedule_.alphas_cumprod().sqrt();
  const auto sigma = (1.0 - schedule_.alphas_cumprod()).sqrt();
  alpha_ = floats_of(alpha);
  sigma_ = floats_of(sigma);
  // λ = log(α/σ), half the logarithm of the signal-to-noise ratio: the solver's time (arXiv
  // 2206.00927).
  lambda_ = floats_of(alpha.log() - sigma.log());
}

std::vector<double> DPMSolverMultistepScheduler::karras_timesteps(std::int64_t steps) const {
  const auto sigmas = floats_of(schedule_.sigmas());
  std::vector<double> log_sigmas;
  for (const float sigma : sigmas) log_sigmas.push_back(std::log(sigma));
  std::vector<double> timesteps;
  for (const double sigma : karras_sigmas(sigmas.front(), sigmas.back(), steps)) {
    timesteps.push_back(std::nearbyint(timestep_of_sigma(sigma, log_sigmas)));
  }
  return timesteps;
}

std::vector<double> DPMSolverMultistepScheduler::plan(std::int64_t steps) {
  outputs_.clear();
  // λ falls with t: drop the timesteps at the noisy end whose λ is below the limit.
  const auto kept = std::find_if(lambda_.rbegin(), lambda_.rend(), [this](float lambda) {
    return static_cast<double>(lambda) >= lambda_min_clipped_;
  });
  const auto last = static_cast<std::int64_t>(lambda_.rend() - kept);
  if (!karras_) return solver_timesteps(spacing_, last, schedule_.size(), steps, steps_offset_);
  auto timesteps = karras_timesteps(steps);
  timesteps.erase(std::unique(timesteps.begin(), timesteps.end()), timesteps.end());
  return timesteps;
}

DPMSolverMultistepScheduler::Point DPMSolverMultistepScheduler::point_at(
    std::int64_t timestep) const {
  const auto t = static_cast<std::size_t>(timestep);
  return {alpha_[t], sigma_[t], lambda_[t]};
}

DPMSolverMultistepScheduler::Point DPMSolverMultistepScheduler::point_after(
    std::int64_t index) const {
  if (index + 1 < static_cast<std::int64_t>(timesteps_.size())) {
    return point_at(timestep_at(index + 1));
  }
  // Down to the network's last level, as the authors' pictures were made.
  if (!final_sigma_zero_) return point_at(0);
  return {1.0F, 0.0F, std::numeric_limits<float>::infinity()};
}

std::int64_t DPMSolverMultistepScheduler::order_at(std::int64_t index) const {
  const auto left = static_cast<std::int64_t>(timesteps_.size()) - index;
  const bool lower = lower_order_final_ && timesteps_.size() < kFewSteps;
  // A run that begins later has as much to look back on as one of `outputs_`.
  auto order = std::min(order_, static_cast<std::int64_t>(outputs_.size()));
  if (left == 1 && (lower || euler_at_final_ || final_sigma_zero_)) order = 1;
  if (left == 2 && lower) order = std::min<std::int64_t>(order, 2);
  return order;
}

torch::Tensor DPMSolverMultistepScheduler::convert(const torch::Tensor& model_output,
                                                   const torch::Tensor& sample,
                                                   const Point& point) const {
  const auto type = schedule_.prediction_type();
  torch::Tensor original, noise;
  if (type == PredictionType::kEpsilon) {
    noise = model_output;
    original = (sample - point.sigma * noise) / point.alpha;
  } else if (type == PredictionType::kVelocity) {
    noise = point.alpha * model_output + point.sigma * sample;
    original = point.alpha * sample - point.sigma * model_output;
  } else {
    noise = (sample - point.alpha * model_output) / point.sigma;
    original = model_output;
  }
  // ++ integrates the predicted picture (arXiv 2211.01095), the first solver the noise.
  if (plus_plus_) return clipping_.apply(original);
  if (!clipping_.thresholding) return noise;
  original = clipping_.apply((sample - point.sigma * noise) / point.alpha);
  return (sample - point.alpha * original) / point.sigma;
}

torch::Tensor DPMSolverMultistepScheduler::step(const torch::Tensor& model_output,
                                                std::int64_t index, const torch::Tensor& sample,
                                                const NoiseSource& noise) {
  if (index == 0) outputs_.clear();
  Stage stage{point_at(timestep_at(index)), point_after(index), 0.0F, sample, {}};
  stage.h = stage.to.lambda - stage.from.lambda;
  if (stochastic_) stage.noise = noise.like(sample);

  outputs_.push_back(convert(model_output, sample, stage.from));
  if (static_cast<std::int64_t>(outputs_.size()) > order_) outputs_.erase(outputs_.begin());
  if (stage.h == 0) return first_order(stage);  // Karras ends at timestep 0: nothing left to do
  switch (order_at(index)) {
    case 1:
      return first_order(stage);
    case 2:
      return second_order(stage, index);
    default:
      return third_order(stage, index);
  }
}

torch::Tensor DPMSolverMultistepScheduler::first_order(const Stage& stage) const {
  const auto& [from, to, h, sample, noise] = stage;
  const auto& output = outputs_.back();
  if (!stochastic_) {
    return plus_plus_ ? (to.sigma / from.sigma) * sample - to.alpha * (std::exp(-h) - 1) * output
                      : (to.alpha / from.alpha) * sample - to.sigma * (std::exp(h) - 1) * output;
  }
  if (plus_plus_) {
    return (to.sigma / from.sigma * std::exp(-h)) * sample +
           to.alpha * (1 - std::exp(-2 * h)) * output +
           to.sigma * std::sqrt(1 - std::exp(-2 * h)) * noise;
  }
  return (to.alpha / from.alpha) * sample - 2 * (to.sigma * (std::exp(h) - 1)) * output +
         to.sigma * std::sqrt(std::exp(2 * h) - 1) * noise;
}

torch::Tensor DPMSolverMultistepScheduler::second_order(const Stage& stage,
                                                        std::int64_t index) const {
  const auto& [from, to, h, sample, noise] = stage;
  const auto& newest = outputs_.back();
  const float h0 = from.lambda - point_at(timestep_at(index - 1)).lambda;
  // r0 = h0 / h, D1 = (m0 - m1) / r0, in diffusers' sequence of operations.
  const auto slope = (1 / (h0 / h)) * (newest - outputs_[outputs_.size() - 2]);
  if (plus_plus_ && !stochastic_) {
    const float gain = to.alpha * (std::exp(-h) - 1);
    const float slope_gain = heun_ ? to.alpha * ((std::exp(-h) - 1) / h + 1) : -0.5F * gain;
    return (to.sigma / from.sigma) * sample - gain * newest + slope_gain * slope;
  }
  if (!plus_plus_) {
    const float gain = (stochastic_ ? 2.0F : 1.0F) * to.sigma * (std::exp(h) - 1);
    const float heun_gain = (stochastic_ ? 2.0F : 1.0F) * to.sigma * ((std::exp(h) - 1) / h - 1);
    const auto mean = (to.alpha / from.alpha) * sample - gain * newest -
                      (heun_ ? heun_gain : 0.5F * gain) * slope;
    return stochastic_ ? mean + to.sigma * std::sqrt(std::exp(2 * h) - 1) * noise : mean;
  }
  const float gain = to.alpha * (1 - std::exp(-2 * h));
  const float heun_gain = to.alpha * ((1 - std::exp(-2 * h)) / (-2 * h) + 1);
  return (to.sigma / from.sigma * std::exp(-h)) * sample + gain * newest +
         (heun_ ? heun_gain : 0.5F * gain) * slope +
         to.sigma * std::sqrt(1 - std::exp(-2 * h)) * noise;
}

torch::Tensor DPMSolverMultistepScheduler::third_order(const Stage& stage,
                                                       std::int64_t index) const {
  const auto& [from, to, h, sample, noise] = stage;
  const float before = point_at(timestep_at(index - 1)).lambda;
  const float long_before = point_at(timestep_at(index - 2)).lambda;
  const float r0 = (from.lambda - before) / h;
  const float r1 = (before - long_before) / h;
  const auto new_slope = (1 / r0) * (outputs_[2] - outputs_[1]);
  const auto old_slope = (1 / r1) * (outputs_[1] - outputs_[0]);
  const auto slope = new_slope + (r0 / (r0 + r1)) * (new_slope - old_slope);
  // D2, the second difference.
  const auto bend = (1 / (r0 + r1)) * (new_slope - old_slope);
  if (plus_plus_) {
    return (to.sigma / from.sigma) * sample - to.alpha * (std::exp(-h) - 1) * outputs_[2] +
           to.alpha * ((std::exp(-h) - 1) / h + 1) * slope -
           to.alpha * ((std::exp(-h) - 1 + h) / (h * h) - 0.5F) * bend;
  }
  return (to.alpha / from.alpha) * sample - to.sigma * (std::exp(h) - 1) * outputs_[2] -
         to.sigma * ((std::exp(h) - 1) / h - 1) * slope -
         to.sigma * ((std::exp(h) - 1 - h) / (h * h) - 0.5F) * bend;
}

}  // namespace mos::diffusion
