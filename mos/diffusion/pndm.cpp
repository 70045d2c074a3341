#include "mos/diffusion/pndm.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>

#include "mos/base/error.h"

namespace mos::diffusion {
namespace {

constexpr std::size_t kOrder = 4;

/// The Adams-Bashforth combination of the outputs so far, newest last.
torch::Tensor combine(const std::vector<torch::Tensor>& outputs) {
  const auto back = [&outputs](std::size_t age) { return outputs[outputs.size() - age]; };
  switch (outputs.size()) {
    case 1:
      return back(1);
    case 2:
      return (3 * back(1) - back(2)) / 2;
    case 3:
      return (23 * back(1) - 16 * back(2) + 5 * back(3)) / 12;
    default:
      return (1.0 / 24.0) * (55 * back(1) - 59 * back(2) + 37 * back(3) - 9 * back(4));
  }
}

/// The calls of three Runge-Kutta steps (four calls each) and of the half step into the fourth,
/// from ascending timesteps; `half` is half the distance between two.
std::vector<double> runge_kutta_timesteps(const std::vector<double>& ascending, double half) {
  std::vector<double> doubled;
  for (auto t = ascending.end() - kOrder; t != ascending.end(); ++t) {
    doubled.push_back(*t);
    doubled.push_back(*t + half);
  }
  doubled.pop_back();
  std::vector<double> calls;
  for (const double t : doubled) calls.insert(calls.end(), {t, t});
  calls.erase(calls.begin());
  calls.pop_back();
  std::reverse(calls.begin(), calls.end());
  return calls;
}

}  // namespace

PNDMScheduler::PNDMScheduler(SchedulerConfig& config)
    : Scheduler(config.take_noise_schedule()),
      skip_runge_kutta_(config.take("skip_prk_steps", false)),
      final_alpha_(config.take("set_alpha_to_one", false) ? 1.0F : schedule_.alpha_cumprod(0)),
      spacing_(config.take_spacing("leading")),
      steps_offset_(config.take_steps_offset()) {
  config.take_choice("prediction_type", checkpoint::kDefaultPrediction,
                     {"epsilon", "v_prediction"});
  config.pin("rescale_betas_zero_snr", false);
}

void PNDMScheduler::forget() {
  outputs_.clear();
  weighted_output_.reset();
  anchor_.reset();
}

std::vector<double> PNDMScheduler::plan(std::int64_t steps) {
  forget();
  stride_ = schedule_.size() / steps;
  auto descending = spaced_timesteps(spacing_, schedule_.size(), steps, steps_offset_);
  if (skip_runge_kutta_) {
    runge_kutta_calls_ = 0;
    if (descending.size() > 1) descending.insert(descending.begin() + 1, descending[1]);
    return descending;
  }
  if (descending.size() < kOrder) {
    throw Error(ErrorKind::kUsage,
                fmt::format("PNDMScheduler with Runge-Kutta steps needs {} steps or more, got {}: "
                            "take more, or set skip_prk_steps",
                            kOrder, steps));
  }
  const std::vector<double> ascending(descending.rbegin(), descending.rend());
  auto calls = runge_kutta_timesteps(ascending, static_cast<double>(stride_ / 2));
  runge_kutta_calls_ = static_cast<std::int64_t>(calls.size());
  calls.insert(calls.end(), descending.begin() + (kOrder - 1), descending.end());
  return calls;
}

std::vector<std::int64_t> PNDMScheduler::step_starts() const {
  if (!skip_runge_kutta_) {
    throw Error(ErrorKind::kUsage,
                "PNDMScheduler with Runge-Kutta steps cannot begin in between: take another "
                "scheduler for a picture to start from, or set skip_prk_steps");
  }
  auto starts = Scheduler::step_starts();
  if (starts.size() > 1) starts.erase(starts.begin() + 1);  // the first step's second call
  return starts;
}

std::int64_t PNDMScheduler::step_of(std::int64_t call) const {
  if (skip_runge_kutta_) return Scheduler::step_of(call);
  constexpr std::int64_t kCalls = 4;  // of a Runge-Kutta step
  const auto by_runge_kutta = std::min(call, runge_kutta_calls_);
  return by_runge_kutta / kCalls + (call - by_runge_kutta);
}

torch::Tensor PNDMScheduler::step(const torch::Tensor& model_output, std::int64_t index,
                                  const torch::Tensor& sample, const NoiseSource& /*noise*/) {
  if (index == 0) forget();
  return index < runge_kutta_calls_ ? step_runge_kutta(model_output, index, sample)
                                    : step_multistep(model_output, index, sample);
}

torch::Tensor PNDMScheduler::step_runge_kutta(const torch::Tensor& model_output, std::int64_t index,
                                              const torch::Tensor& sample) {
  const auto previous = timestep_at(index) - (index % 2 == 0 ? stride_ / 2 : 0);
  const auto timestep = timestep_at(index / 4 * 4);
  auto slope = model_output;
  switch (index % 4) {
    case 0:
      weighted_output_ = model_output / 6;
      outputs_.push_back(model_output);
      anchor_ = sample;
      break;
    case 3:
      slope = weighted_output_ + model_output / 6;
      break;
    default:
      weighted_output_ = weighted_output_ + model_output / 3;
      break;
  }
  return transfer(anchor_, timestep, previous, slope);
}

torch::Tensor PNDMScheduler::step_multistep(const torch::Tensor& model_output, std::int64_t index,
                                            const torch::Tensor& sample) {
  const auto timestep = timestep_at(index);
  if (index == 1) {  // skip_prk_steps: the first step again, with the mean of both outputs
    return transfer(anchor_, timestep + stride_, timestep, (model_output + outputs_.back()) / 2);
  }
  if (index == 0) anchor_ = sample;
  outputs_.push_back(model_output);
  if (outputs_.size() > kOrder) outputs_.erase(outputs_.begin());
  return transfer(sample, timestep, timestep - stride_, combine(outputs_));
}

/// Equation 9 of the paper.
torch::Tensor PNDMScheduler::transfer(const torch::Tensor& sample, std::int64_t timestep,
                                      std::int64_t previous,
                                      const torch::Tensor& model_output) const {
  const float alpha = schedule_.alpha_cumprod(timestep);
  const float previous_alpha = previous >= 0 ? schedule_.alpha_cumprod(previous) : final_alpha_;
  const float beta = 1.0F - alpha;
  const auto noise = schedule_.prediction_type() == PredictionType::kVelocity
                         ? std::sqrt(alpha) * model_output + std::sqrt(beta) * sample
                         : model_output;
  const float denominator =
      alpha * std::sqrt(1.0F - previous_alpha) + std::sqrt(alpha * beta * previous_alpha);
  return std::sqrt(previous_alpha / alpha) * sample -
         (previous_alpha - alpha) * noise / denominator;
}

}  // namespace mos::diffusion
