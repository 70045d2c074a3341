#include "mos/diffusion/sigma/sigma_scheduler.h"

#include <algorithm>
#include <cmath>
#include <utility>

namespace mos::diffusion {

using torch::Tensor;

namespace {

/// UniPC's own keys: those that it has one value for, and its order.
void take_unipc(SchedulerConfig& config, SigmaMethodOptions& options) {
  options.order = config.take<std::int64_t>("solver_order", 2);
  if (options.order < 1 || options.order > 3) config.pin("solver_order", 2);
  const auto type =
      config.take_choice("solver_type", "bh2", {"bh1", "bh2", "midpoint", "heun", "logrho"});
  options.bh1 = options.bh1 || type == "bh1";  // the rest is DPM-Solver's, and means bh2 here
  config.pin("predict_x0", true);
  config.pin("lower_order_final", true);
  config.pin("thresholding", false);
  config.pin("solver_p", nullptr);
  config.pin("disable_corrector", Json::array());
}

}  // namespace

SigmaScheduler::SigmaScheduler(SchedulerConfig& config, SigmaRecipe recipe)
    : Scheduler(config.take_noise_schedule()),
      recipe_(std::move(recipe)),
      // diffusers' UniPC works on samples of variance 1, all others on picture + σ · noise.
      preserves_variance_(recipe_.method == "unipc" && recipe_.grid.empty()) {
  if (recipe_.method == "unipc") take_unipc(config, recipe_.options);
  if (preserves_variance_) {
    configured_.spacing = config.take_spacing("linspace");
    configured_.steps_offset = config.take_steps_offset();
    ends_at_zero_ =
        config.take_choice("final_sigmas_type", "sigma_min", {"sigma_min", "zero"}) == "zero";
    for (const char* key :
         {"use_karras_sigmas", "use_exponential_sigmas", "use_beta_sigmas", "use_flow_sigmas"}) {
      config.pin(key, false);
    }
  } else if (recipe_.grid.empty()) {
    configured_ = ConfiguredGrid::take_from(config);
  }
  method_ = make_sigma_method(recipe_.method, recipe_.options);
  schedule_.keep_last_alpha_positive();
  // Until plan() is called: init_noise_sigma() may be asked before.
  sigmas_ = {NoiseLevels(schedule_).largest()};
}

double SigmaScheduler::init_noise_sigma() const {
  if (preserves_variance_) return 1.0;
  const double largest = *std::max_element(sigmas_.begin(), sigmas_.end());
  const bool as_leading = recipe_.grid.empty() && configured_.spacing == TimestepSpacing::kLeading;
  return as_leading ? std::sqrt(largest * largest + 1.0) : largest;
}

SigmaGrid SigmaScheduler::grid_at(std::int64_t steps) const {
  const NoiseLevels levels(schedule_);
  if (preserves_variance_) {
    SigmaGrid grid{{},
                   solver_timesteps(configured_.spacing, schedule_.size(), schedule_.size(), steps,
                                    configured_.steps_offset)};
    for (const double t : grid.timesteps) grid.sigmas.push_back(levels.linear_at(t));
    return grid;
  }
  if (recipe_.grid.empty()) return configured_.at(schedule_, steps);
  // A1111 and ComfyUI leave out the last level but zero for these: their second call would lie
  // between it and the end, where a network knows nothing new.
  if (recipe_.method != "dpm2" && recipe_.method != "dpm2_a") {
    return sigma_grid(recipe_.grid, levels, steps);
  }
  auto grid = sigma_grid(recipe_.grid, levels, steps + 1);
  grid.sigmas.pop_back();
  grid.timesteps.pop_back();
  return grid;
}

SigmaStep SigmaScheduler::step_at(std::size_t index) const {
  return {.left = static_cast<std::int64_t>(sigmas_.size() - 1 - index),
          .from = sigmas_.at(index),
          .to = sigmas_.at(index + 1),
          .low = low_,
          .high = high_};
}

std::vector<double> SigmaScheduler::plan(std::int64_t steps) {
  const NoiseLevels levels(schedule_);
  auto grid = grid_at(steps);
  sigmas_ = std::move(grid.sigmas);
  sigmas_.push_back(ends_at_zero_ ? 0.0 : levels.smallest());
  const auto smaller = [](double a, double b) { return a > 0 && (b <= 0 || a < b); };
  low_ = *std::min_element(sigmas_.begin(), sigmas_.end(), smaller);
  high_ = *std::max_element(sigmas_.begin(), sigmas_.end());
  calls_.clear();
  method_->forget();
  std::vector<double> timesteps;
  for (std::size_t i = 0; i + 1 < sigmas_.size(); ++i) {
    calls_.push_back({i, false, sigmas_[i]});
    timesteps.push_back(grid.timesteps[i]);
    const auto second = method_->between(step_at(i));
    if (!second) continue;
    calls_.push_back({i, true, *second});
    // A second call at the next level is at its timestep; in between it is looked up.
    const bool is_next = i + 2 < sigmas_.size() && *second == sigmas_[i + 1];
    timesteps.push_back(is_next ? grid.timesteps[i + 1] : levels.timestep_of(*second));
  }
  return timesteps;
}

std::vector<std::int64_t> SigmaScheduler::step_starts() const {
  std::vector<std::int64_t> starts;
  for (std::size_t i = 0; i < calls_.size(); ++i) {
    if (!calls_[i].is_second) starts.push_back(static_cast<std::int64_t>(i));
  }
  return starts;
}

Tensor SigmaScheduler::noised(const Tensor& original, const Tensor& noise,
                              std::int64_t index) const {
  const double sigma = calls_.at(static_cast<std::size_t>(index)).sigma;
  const auto sum = original + sigma * noise;
  return preserves_variance_ ? sum / std::sqrt(sigma * sigma + 1.0) : sum;
}

Tensor SigmaScheduler::scale_model_input(const Tensor& sample, std::int64_t index) const {
  if (preserves_variance_) return sample;
  const double sigma = calls_.at(static_cast<std::size_t>(index)).sigma;
  return sample / std::sqrt(sigma * sigma + 1.0);
}

Tensor SigmaScheduler::denoised(const Tensor& model_output, const Tensor& sample,
                                double sigma) const {
  const double squared = sigma * sigma + 1.0;
  switch (schedule_.prediction_type()) {
    case PredictionType::kEpsilon:
      return sample - sigma * model_output;
    case PredictionType::kVelocity:
      return model_output * (-sigma / std::sqrt(squared)) + sample / squared;
    case PredictionType::kSample:
      break;
  }
  return model_output;
}

Tensor SigmaScheduler::step(const Tensor& model_output, std::int64_t index, const Tensor& sample,
                            const NoiseSource& noise) {
  // A run that was broken off leaves results that the next must not remember.
  if (index == 0) method_->forget();
  const auto& call = calls_.at(static_cast<std::size_t>(index));
  const auto step = step_at(call.step);
  const auto factor = [this](double sigma) {
    return preserves_variance_ ? std::sqrt(sigma * sigma + 1.0) : 1.0;
  };
  // Methods see picture + σ · noise, whatever the samples are kept as.
  const auto whole = preserves_variance_ ? sample * factor(call.sigma) : sample;
  const auto picture = denoised(model_output, whole, call.sigma);
  const auto moved = call.is_second ? method_->finish(step, whole, picture, noise)
                                    : method_->begin(step, whole, picture, noise);
  return preserves_variance_ ? moved / factor(step.to) : moved;
}

}  // namespace mos::diffusion
