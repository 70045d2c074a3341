#pragma once

#include <torch/types.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "mos/diffusion/scheduler.h"

/// Ways to walk down the noise levels. A sample is x = x_0 + σ ε; a network says which x_0 it sees
/// in it ("denoised"). Coefficients are float64; tensors keep their dtype.
namespace mos::diffusion {

/// From one level to the next; the last step ends at 0.
struct SigmaStep {
  std::int64_t left = 1;  ///< Steps from here on, this one included.
  double from = 0.0, to = 0.0;
  double low = 0.0, high = 0.0;  ///< Of the whole run: the smallest level above 0 and the largest.

  /// The part of it down to `level`.
  NoiseSpan until(double level) const { return {from, level, low, high}; }
};

/// One run's state. A step is one call of the network at `from`, and a second one at between() for
/// methods that have that.
class SigmaMethod {
 public:
  virtual ~SigmaMethod() = default;

  /// The level of a step's second call; nothing: the step has one call.
  virtual std::optional<double> between(const SigmaStep& /*step*/) const { return std::nullopt; }

  /// The sample for the second call, or the step's result where there is none.
  virtual torch::Tensor begin(const SigmaStep& step, const torch::Tensor& sample,
                              const torch::Tensor& denoised, const NoiseSource& noise) = 0;

  /// The step's result; `sample` is what begin() gave.
  virtual torch::Tensor finish(const SigmaStep& step, const torch::Tensor& sample,
                               const torch::Tensor& denoised, const NoiseSource& noise);

  /// Called before the first step.
  virtual void forget() {}

  virtual bool is_stochastic() const { return false; }
};

/// The share of a step to `to` that is taken without noise, and the noise that is put back, so that
/// down² + up² = to² (Karras et al. 2022; k-diffusion's ancestral step). η 0: no noise.
struct AncestralSplit {
  double down = 0.0, up = 0.0;
};
AncestralSplit ancestral_split(double from, double to, double eta);

struct SigmaMethodOptions {
  /// Fresh noise of the ancestral and SDE methods: 1 all of it, 0 none.
  double eta = 1.0;
  std::int64_t order = 0;  ///< Of lms (4) and unipc (2); 0: that.
  bool heun = false;       ///< dpm++2m_sde: its "Heun" form; else midpoint.
  bool bh1 = false;        ///< unipc: B(h) = h, else e^h − 1.
};

/// `name`: euler, euler_a, heun, dpm2, dpm2_a, dpm++2m, dpm++2m_sde, dpm++2s_a, dpm++sde,
/// dpm++3m_sde, lms, unipc or lcm.
std::unique_ptr<SigmaMethod> make_sigma_method(const std::string& name,
                                               const SigmaMethodOptions& options = {});

/// The methods of each file.
std::unique_ptr<SigmaMethod> make_euler_method(const std::string& name,
                                               const SigmaMethodOptions& options);
std::unique_ptr<SigmaMethod> make_two_call_method(const std::string& name,
                                                  const SigmaMethodOptions& options);
std::unique_ptr<SigmaMethod> make_multistep_method(const std::string& name,
                                                   const SigmaMethodOptions& options);
std::unique_ptr<SigmaMethod> make_unipc_method(const SigmaMethodOptions& options);

}  // namespace mos::diffusion
