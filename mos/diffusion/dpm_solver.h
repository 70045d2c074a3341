#pragma once

#include "mos/diffusion/scheduler.h"

namespace mos::diffusion {

/// DPM-Solver and DPM-Solver++ (Lu et al. 2022), multistep, orders 1 to 3, with their stochastic
/// variants at orders 1 and 2. Mix-of-Show samples with order 2 of DPM-Solver++.
class DPMSolverMultistepScheduler : public Scheduler {
 public:
  explicit DPMSolverMultistepScheduler(SchedulerConfig& config);

  std::string class_name() const override { return "DPMSolverMultistepScheduler"; }
  torch::Tensor step(const torch::Tensor& model_output, std::int64_t index,
                     const torch::Tensor& sample, const NoiseSource& noise) override;

 protected:
  std::vector<double> plan(std::int64_t steps) override;

 private:
  /// √ᾱ, √(1−ᾱ) and λ = log(√ᾱ/√(1−ᾱ)) at one timestep.
  struct Point {
    float alpha = 1.0F;
    float sigma = 0.0F;
    float lambda = 0.0F;
  };
  /// Everything an update of any order is made of.
  struct Stage {
    Point from, to;
    float h = 0.0F;  ///< λ_to − λ_from
    torch::Tensor sample;
    torch::Tensor noise;  ///< Undefined for the deterministic algorithms.
  };

  Point point_at(std::int64_t timestep) const;
  Point point_after(std::int64_t index) const;
  std::int64_t order_at(std::int64_t index) const;
  torch::Tensor convert(const torch::Tensor& model_output, const torch::Tensor& sample,
                        const Point& point) const;
  torch::Tensor first_order(const Stage& stage) const;
  torch::Tensor second_order(const Stage& stage, std::int64_t index) const;
  torch::Tensor third_order(const Stage& stage, std::int64_t index) const;
  std::vector<double> karras_timesteps(std::int64_t steps) const;

  std::int64_t order_;
  std::string algorithm_;
  bool plus_plus_;  ///< The ++ algorithms work on x_0, the others on ε.
  bool stochastic_;
  bool heun_;
  bool lower_order_final_;
  bool euler_at_final_;
  bool final_sigma_zero_;
  bool karras_;
  double lambda_min_clipped_;
  TimestepSpacing spacing_;
  std::int64_t steps_offset_;
  SampleClipping clipping_;
  std::vector<float> alpha_, sigma_, lambda_;  ///< Point tables, [T].
  std::vector<torch::Tensor> outputs_;         ///< The last `order_`, newest last.
};

}  // namespace mos::diffusion
