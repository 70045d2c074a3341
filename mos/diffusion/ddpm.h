#pragma once

#include "mos/diffusion/scheduler.h"

namespace mos::diffusion {

/// Ancestral sampling (Ho et al. 2020, eq. 7): every step but the last adds noise.
class DDPMScheduler : public Scheduler {
 public:
  explicit DDPMScheduler(SchedulerConfig& config);

  std::string class_name() const override { return "DDPMScheduler"; }
  torch::Tensor step(const torch::Tensor& model_output, std::int64_t index,
                     const torch::Tensor& sample, const NoiseSource& noise) override;

 protected:
  std::vector<double> plan(std::int64_t steps) override;

 private:
  float standard_deviation(float alpha, float previous_alpha) const;

  SampleClipping clipping_;
  std::string variance_type_;
  TimestepSpacing spacing_;
  std::int64_t steps_offset_;
  std::int64_t stride_ = 1;  ///< Training timesteps between two steps.
};

}  // namespace mos::diffusion
