#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "mos/diffusion/scheduler.h"
#include "mos/diffusion/sigma/sigma_grid.h"
#include "mos/diffusion/sigma/sigma_method.h"

namespace mos::diffusion {

/// What makes a scheduler of a method.
struct SigmaRecipe {
  std::string class_name;  ///< Of diffusers, or the name of the method where that has none.
  std::string method;      ///< See make_sigma_method.
  std::string grid;        ///< See sigma_grid; empty: as the config says.
  SigmaMethodOptions options;
};

/// k-diffusion's way to sample: a method on a grid of noise levels. Samples are x_0 + σ ε and are
/// scaled before the network sees them. With the config's own grid it is what diffusers has under
/// the class's name: UniPC then works on its whole timesteps, ends at timestep 0 and keeps samples
/// as √ᾱ x_0 + √(1−ᾱ) ε.
class SigmaScheduler : public Scheduler {
 public:
  SigmaScheduler(SchedulerConfig& config, SigmaRecipe recipe);

  std::string class_name() const override { return recipe_.class_name; }
  double init_noise_sigma() const override;
  std::vector<std::int64_t> step_starts() const override;
  torch::Tensor noised(const torch::Tensor& original, const torch::Tensor& noise,
                       std::int64_t index) const override;
  torch::Tensor scale_model_input(const torch::Tensor& sample, std::int64_t index) const override;
  torch::Tensor step(const torch::Tensor& model_output, std::int64_t index,
                     const torch::Tensor& sample, const NoiseSource& noise) override;

  /// The level before each step, then the last one's end.
  const std::vector<double>& sigmas() const { return sigmas_; }

 protected:
  std::vector<double> plan(std::int64_t steps) override;

 private:
  /// One call of the network.
  struct Call {
    std::size_t step = 0;
    bool is_second = false;
    double sigma = 0.0;
  };

  SigmaGrid grid_at(std::int64_t steps) const;
  SigmaStep step_at(std::size_t index) const;
  torch::Tensor denoised(const torch::Tensor& model_output, const torch::Tensor& sample,
                         double sigma) const;

  SigmaRecipe recipe_;
  ConfiguredGrid configured_;
  std::unique_ptr<SigmaMethod> method_;
  bool preserves_variance_;
  bool ends_at_zero_ = true;
  std::vector<double> sigmas_;
  double low_ = 0.0, high_ = 0.0;  ///< Of sigmas_: the smallest above 0 and the largest.
  std::vector<Call> calls_;
};

}  // namespace mos::diffusion
