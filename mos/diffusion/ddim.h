#pragma once

#include "mos/diffusion/scheduler.h"

namespace mos::diffusion {

/// Song et al. 2020 (eq. 12), deterministic at eta 0.
class DDIMScheduler : public Scheduler {
 public:
  /// Throws mos::Error(kUsage) unless 0 ≤ eta ≤ 1.
  explicit DDIMScheduler(SchedulerConfig& config, double eta = 0.0);

  std::string class_name() const override { return "DDIMScheduler"; }
  torch::Tensor step(const torch::Tensor& model_output, std::int64_t index,
                     const torch::Tensor& sample, const NoiseSource& noise) override;

 protected:
  std::vector<double> plan(std::int64_t steps) override;

 private:
  SampleClipping clipping_;
  float final_alpha_;  ///< ᾱ before timestep 0.
  TimestepSpacing spacing_;
  std::int64_t steps_offset_;
  float eta_;
  std::int64_t stride_ = 1;
};

}  // namespace mos::diffusion
