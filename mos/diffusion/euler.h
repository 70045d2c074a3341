#pragma once

#include "mos/diffusion/scheduler.h"
#include "mos/diffusion/sigma/sigma_grid.h"

namespace mos::diffusion {

/// Euler steps in σ = √((1−ᾱ)/ᾱ) (Karras et al. 2022, algorithm 2 without churn). Samples are x_0 +
/// σ ε, so they are scaled before the network sees them.
class EulerDiscreteScheduler : public Scheduler {
 public:
  explicit EulerDiscreteScheduler(SchedulerConfig& config);

  std::string class_name() const override { return "EulerDiscreteScheduler"; }
  double init_noise_sigma() const override;
  torch::Tensor noised(const torch::Tensor& original, const torch::Tensor& noise,
                       std::int64_t index) const override;
  torch::Tensor scale_model_input(const torch::Tensor& sample, std::int64_t index) const override;
  torch::Tensor step(const torch::Tensor& model_output, std::int64_t index,
                     const torch::Tensor& sample, const NoiseSource& noise) override;

  /// The noise level before each step, then 0.
  const std::vector<float>& sigmas() const { return sigmas_; }

 protected:
  std::vector<double> plan(std::int64_t steps) override;

 private:
  ConfiguredGrid grid_;
  std::vector<float> sigmas_;
};

}  // namespace mos::diffusion
