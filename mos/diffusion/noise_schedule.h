#pragma once

#include <torch/types.h>

#include <cstdint>
#include <string>
#include <vector>

#include "mos/base/json.h"

/// The forward process x_t = √ᾱ_t x_0 + √(1−ᾱ_t) ε, as the schedulers of diffusers 0.19.3 have it.
/// T is the number of training timesteps; tables are float32 on the CPU, like the reference's.
namespace mos::diffusion {

/// What the network is trained to say.
enum class PredictionType {
  kEpsilon,   ///< The noise ε.
  kVelocity,  ///< √ᾱ_t ε − √(1−ᾱ_t) x_0 ("v_prediction").
  kSample,    ///< x_0 itself.
};

/// Throws mos::Error(kFormat) for a name other than epsilon, v_prediction and sample.
PredictionType prediction_type_from(const std::string& name);

struct NoiseScheduleOptions {
  std::int64_t num_train_timesteps = 1000;
  double beta_start = 0.0001;
  double beta_end = 0.02;
  /// linear, scaled_linear (linear in √β; Stable Diffusion), squaredcos_cap_v2 or sigmoid.
  std::string beta_schedule = "linear";
  std::vector<double> trained_betas;  ///< Replaces the schedule when not empty; T values.
  PredictionType prediction_type = PredictionType::kEpsilon;
  bool rescale_betas_zero_snr = false;  ///< Shift √ᾱ so that ᾱ_T = 0 (arXiv 2305.08891).
};

/// A value; copies share their tables, which never change.
class NoiseSchedule {
 public:
  /// Throws mos::Error(kFormat) for values that make no schedule.
  NoiseSchedule() : NoiseSchedule(NoiseScheduleOptions()) {}
  explicit NoiseSchedule(const NoiseScheduleOptions& options);

  /// From a scheduler_config.json; keys that are not about the schedule are not looked at.
  /// The one place that gives such a key its default, but for checkpoint::kDefaultPrediction.
  static NoiseSchedule from_config(const Json& config);

  /// With tables on `device`, so that timesteps which are there are looked up there: on the CPU the
  /// device would be waited for. Schedulers and alpha_cumprod() want the CPU.
  NoiseSchedule to(torch::Device device) const;

  std::int64_t size() const { return alphas_cumprod_.size(0); }  ///< T
  PredictionType prediction_type() const { return prediction_type_; }
  const torch::Tensor& betas() const { return betas_; }                    ///< [T] float32
  const torch::Tensor& alphas_cumprod() const { return alphas_cumprod_; }  ///< ᾱ, [T] float32
  float alpha_cumprod(std::int64_t timestep) const;                        ///< 0 ≤ timestep < T

  /// √((1−ᾱ)/ᾱ), [T] float32: the noise per unit of signal that Karras and Euler work with.
  torch::Tensor sigmas() const;

  /// x_t for original, noise [B,...] of one dtype and timesteps [B] int64 in 0..T-1.
  torch::Tensor add_noise(const torch::Tensor& original, const torch::Tensor& noise,
                          const torch::Tensor& timesteps) const;
  /// v for the same arguments as add_noise.
  torch::Tensor velocity(const torch::Tensor& original, const torch::Tensor& noise,
                         const torch::Tensor& timesteps) const;
  /// What a network of this prediction type is trained towards.
  torch::Tensor target(const torch::Tensor& original, const torch::Tensor& noise,
                       const torch::Tensor& timesteps) const;

  /// For schedulers that divide by ᾱ_T: makes a zero ᾱ_T as small as float16 can say (2⁻²⁴).
  void keep_last_alpha_positive();

 private:
  PredictionType prediction_type_;
  torch::Tensor betas_;
  torch::Tensor alphas_cumprod_;
};

}  // namespace mos::diffusion
