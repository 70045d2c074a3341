#pragma once

#include "mos/diffusion/scheduler.h"

/// Samplers of networks that were distilled to a few steps. Both take their timesteps from those
/// that the distillation used.
namespace mos::diffusion {

/// Timesteps of few steps, largest first: `steps` of the `original_steps` even ones that the
/// network was distilled on. Throws kUsage if there are fewer of those.
std::vector<double> distilled_timesteps(std::int64_t train_steps, std::int64_t original_steps,
                                        std::int64_t steps);

/// Latent consistency models (arXiv 2310.04378): x_0 with the boundary condition at t = 0, noised
/// again to the next timestep.
class LCMScheduler : public Scheduler {
 public:
  explicit LCMScheduler(SchedulerConfig& config);

  std::string class_name() const override { return "LCMScheduler"; }
  torch::Tensor step(const torch::Tensor& model_output, std::int64_t index,
                     const torch::Tensor& sample, const NoiseSource& noise) override;

 protected:
  std::vector<double> plan(std::int64_t steps) override;

 private:
  SampleClipping clipping_;
  std::int64_t original_steps_;
  double timestep_scaling_;
};

/// Trajectory consistency distillation (arXiv 2402.19159, strategic stochastic sampling): a
/// deterministic step to (1 − γ) times the next timestep, then noise up to that.
class TCDScheduler : public Scheduler {
 public:
  /// `gamma` 0 to 1: the share of noise. Throws kUsage for another.
  TCDScheduler(SchedulerConfig& config, double gamma);

  std::string class_name() const override { return "TCDScheduler"; }
  torch::Tensor step(const torch::Tensor& model_output, std::int64_t index,
                     const torch::Tensor& sample, const NoiseSource& noise) override;

 protected:
  std::vector<double> plan(std::int64_t steps) override;

 private:
  SampleClipping clipping_;
  std::int64_t original_steps_;
  double gamma_;
};

}  // namespace mos::diffusion
