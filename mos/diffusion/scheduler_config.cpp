#include "mos/diffusion/scheduler_config.h"

#include <fmt/core.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "mos/base/error.h"
#include "mos/base/text_distance.h"

namespace mos::diffusion {
namespace {

/// Keys of the schedulers that diffusers calls compatible with each other; one that a scheduler
/// does not take says nothing to it.
const std::vector<std::string>& keys_of_all_schedulers() {
  static const std::vector<std::string> keys = {
      "num_train_timesteps", "beta_start", "beta_end", "beta_schedule", "trained_betas",
      "prediction_type", "rescale_betas_zero_snr", "timestep_spacing", "steps_offset",
      // DDPM, DDIM
      "variance_type", "clip_sample", "clip_sample_range", "thresholding",
      "dynamic_thresholding_ratio", "sample_max_value", "set_alpha_to_one",
      // PNDM
      "skip_prk_steps",
      // DPM-Solver, UniPC, DEIS
      "solver_order", "algorithm_type", "solver_type", "lower_order_final", "euler_at_final",
      "use_karras_sigmas", "use_lu_lambdas", "use_exponential_sigmas", "use_beta_sigmas",
      "use_flow_sigmas", "flow_shift", "final_sigmas_type", "lambda_min_clipped", "predict_x0",
      "solver_p", "disable_corrector", "use_dynamic_shifting", "time_shift_type",
      // LCM, TCD
      "original_inference_steps", "timestep_scaling",
      // Euler, Heun, LMS, KDPM2
      "interpolation_type", "sigma_min", "sigma_max", "timestep_type",
      // DPMSolverSDE
      "noise_sampler_seed"};
  return keys;
}

bool contains(const std::vector<std::string>& list, const std::string& key) {
  return std::find(list.begin(), list.end(), key) != list.end();
}

}  // namespace

SchedulerConfig::SchedulerConfig(Json values, std::string class_name)
    : values_(std::move(values)), class_name_(std::move(class_name)) {}

void SchedulerConfig::refuse(const std::string& key, const std::string& expected) const {
  throw Error(ErrorKind::kFormat, fmt::format("{} does not have {} = {}: expected {}", class_name_,
                                              key, quoted(values_.at(key)), expected));
}

std::string SchedulerConfig::take_choice(const std::string& key, const std::string& fallback,
                                         const std::vector<std::string>& allowed) {
  auto value = take<std::string>(key, fallback);
  if (!contains(allowed, value)) {
    refuse(key, fmt::format("one of {}{}", fmt::join(allowed, ", "), did_you_mean(value, allowed)));
  }
  return value;
}

void SchedulerConfig::pin(const std::string& key, const Json& only) {
  taken_.push_back(key);
  const auto found = values_.find(key);
  if (found == values_.end() || found->is_null() || *found == only) return;
  refuse(key, quoted(only));
}

NoiseSchedule SchedulerConfig::take_noise_schedule() {
  for (const char* key : {"num_train_timesteps", "beta_start", "beta_end", "beta_schedule",
                          "trained_betas", "prediction_type", "rescale_betas_zero_snr"}) {
    taken_.emplace_back(key);
  }
  return NoiseSchedule::from_config(values_);
}

TimestepSpacing SchedulerConfig::take_spacing(const std::string& fallback) {
  const auto name = take_choice("timestep_spacing", fallback, {"linspace", "leading", "trailing"});
  if (name == "linspace") return TimestepSpacing::kLinspace;
  return name == "leading" ? TimestepSpacing::kLeading : TimestepSpacing::kTrailing;
}

std::int64_t SchedulerConfig::take_steps_offset() {
  constexpr const char* kKey = "steps_offset";
  constexpr std::int64_t kMostTimesteps = 1'000'000;  // more than any table of a model has
  const auto offset = take<std::int64_t>(kKey, 0);
  if (offset < -kMostTimesteps || offset > kMostTimesteps) {
    refuse(kKey, fmt::format("a number of timesteps, at most {}", kMostTimesteps));
  }
  return offset;
}

void SchedulerConfig::refuse_unknown() const {
  const auto& known = keys_of_all_schedulers();
  for (const auto& [key, value] : values_.items()) {
    if (key.starts_with('_') || contains(taken_, key) || contains(known, key)) continue;
    throw Error(ErrorKind::kFormat, fmt::format("the config of {} has an unknown key \"{}\"{}",
                                                class_name_, key, did_you_mean(key, known)));
  }
}

}  // namespace mos::diffusion
