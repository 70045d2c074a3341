#pragma once

#include "mos/diffusion/scheduler.h"

namespace mos::diffusion {

/// Pseudo numerical methods (Liu et al. 2022): linear multistep, started either by Runge-Kutta
/// steps as in the paper or, with skip_prk_steps as in Stable Diffusion, by a repeated second step.
class PNDMScheduler : public Scheduler {
 public:
  explicit PNDMScheduler(SchedulerConfig& config);

  std::string class_name() const override { return "PNDMScheduler"; }
  std::vector<std::int64_t> step_starts() const override;
  std::int64_t step_of(std::int64_t call) const override;
  torch::Tensor step(const torch::Tensor& model_output, std::int64_t index,
                     const torch::Tensor& sample, const NoiseSource& noise) override;

 protected:
  std::vector<double> plan(std::int64_t steps) override;

 private:
  torch::Tensor step_runge_kutta(const torch::Tensor& model_output, std::int64_t index,
                                 const torch::Tensor& sample);
  torch::Tensor step_multistep(const torch::Tensor& model_output, std::int64_t index,
                               const torch::Tensor& sample);
  torch::Tensor transfer(const torch::Tensor& sample, std::int64_t timestep, std::int64_t previous,
                         const torch::Tensor& model_output) const;
  void forget();

  bool skip_runge_kutta_;
  float final_alpha_;
  TimestepSpacing spacing_;
  std::int64_t steps_offset_;
  std::int64_t stride_ = 1;
  std::int64_t runge_kutta_calls_ = 0;

  std::vector<torch::Tensor> outputs_;  ///< The last four, newest last.
  torch::Tensor weighted_output_;       ///< Sum over the Runge-Kutta calls of one step.
  torch::Tensor anchor_;                ///< The sample that a step of several calls starts from.
};

}  // namespace mos::diffusion
