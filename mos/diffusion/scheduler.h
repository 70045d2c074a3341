#pragma once

#include <ATen/core/Generator.h>
#include <torch/types.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "mos/base/json.h"
#include "mos/diffusion/noise_schedule.h"
#include "mos/diffusion/scheduler_config.h"
#include "mos/diffusion/scheduler_names.h"

/// Samplers of the reverse process, numerically those of diffusers 0.19.3: coefficients are float32
/// scalars where diffusers has float32 tensors.
namespace mos::diffusion {

/// A step of an SDE: from one noise level down to another, within those of the whole run.
struct NoiseSpan {
  double from = 0.0, to = 0.0;
  double low = 0.0, high = 0.0;  ///< The smallest level above 0 and the largest.
};

/// Where a stochastic step gets its N(0,1) from. Draws are float32 on the CPU and then moved, so a
/// seed gives the same picture on every device.
class NoiseSource {
 public:
  NoiseSource() = default;  ///< None: a step that needs noise throws.
  /// One generator for the whole batch; it must outlive this object. Null: none.
  NoiseSource(at::Generator* generator);  // NOLINT(google-explicit-constructor)
  /// One generator for each picture, so that a batch gets what its pictures get alone.
  explicit NoiseSource(std::vector<at::Generator> one_per_picture);
  /// The same given tensor at every draw.
  explicit NoiseSource(torch::Tensor given);
  /// `draw(sample)` gives noise for a sample, in its shape.
  explicit NoiseSource(std::function<torch::Tensor(const torch::Tensor&)> draw);

  /// Noise in `sample`'s shape [B,...], dtype and device.
  /// Throws mos::Error(kUsage) when there is no source or not one generator per picture.
  torch::Tensor like(const torch::Tensor& sample) const;

  /// The increment of a Brownian path over a span as N(0,1) in the sample's shape; overlapping
  /// spans have what they share.
  using Path = std::function<torch::Tensor(const NoiseSpan& span, const torch::Tensor& sample)>;
  /// This source, whose SDE samplers follow `path`.
  NoiseSource with_path(Path path) const;
  bool has_path() const { return static_cast<bool>(path_); }
  /// The path's increment, or a fresh draw where there is no path; as like().
  torch::Tensor over(const NoiseSpan& span, const torch::Tensor& sample) const;

 private:
  std::function<torch::Tensor(const torch::Tensor&)> draw_;
  Path path_;
};

/// Has the history of one run: neither two runs nor two threads may share it.
class Scheduler {
 public:
  virtual ~Scheduler() = default;

  /// The diffusers class this one is, e.g. "DDIMScheduler".
  virtual std::string class_name() const = 0;

  /// Plans `steps` steps and forgets the history. Throws mos::Error(kUsage) unless 1 ≤ steps ≤ T.
  void set_timesteps(std::int64_t steps);

  /// The timestep for each call of the network, from noise to picture. Euler's linspace has
  /// fractions; PNDM has more entries than steps.
  const std::vector<double>& timesteps() const { return timesteps_; }

  /// The starting latents are N(0,1) times this.
  virtual double init_noise_sigma() const { return 1.0; }

  /// The call that each planned step begins with; methods with two calls in a step have fewer steps
  /// than timesteps. A run may begin with any of them. Throws kUsage where that is not possible.
  virtual std::vector<std::int64_t> step_starts() const;

  /// The planned step, counted from 0, that a call is a part of.
  virtual std::int64_t step_of(std::int64_t call) const;

  /// `original` as call `index` expects it: with `noise` of that level added, both [B,...].
  virtual torch::Tensor noised(const torch::Tensor& original, const torch::Tensor& noise,
                               std::int64_t index) const;

  /// What the network gets to see of `sample` at step `index`.
  virtual torch::Tensor scale_model_input(const torch::Tensor& sample, std::int64_t index) const;

  /// The sample after step `index` of timesteps(), from the network's output for it; both [B,...].
  /// Steps come in order: index 0 forgets the history.
  virtual torch::Tensor step(const torch::Tensor& model_output, std::int64_t index,
                             const torch::Tensor& sample, const NoiseSource& noise = {}) = 0;

  const NoiseSchedule& noise_schedule() const { return schedule_; }

 protected:
  explicit Scheduler(NoiseSchedule schedule) : schedule_(std::move(schedule)) {}

  /// The plan for `steps` steps; also the place to reset one's state.
  virtual std::vector<double> plan(std::int64_t steps) = 0;

  /// timesteps()[index] as a position in the tables.
  std::int64_t timestep_at(std::int64_t index) const;

  NoiseSchedule schedule_;
  std::vector<double> timesteps_;
};

struct SchedulerOptions {
  /// DDIM's η: 0 deterministic, 1 as noisy as DDPM. Throws kUsage with other schedulers.
  double eta = 0.0;
  /// A name of sigma_grid_names(), or "automatic"; empty: the steps that the config names. Throws
  /// kUsage with schedulers that walk whole timesteps.
  std::string sigmas = {};
  /// Fresh noise of ancestral, SDE and TCD steps; empty: all of it (1), TCD 0.3. Throws kUsage with
  /// other schedulers.
  std::optional<double> ancestral_eta = {};
};

/// `name`: any name of scheduler_table(), or empty for the config's own `_class_name`. dpm++,
/// dpm++2m_sde and dpmsolver override the config's algorithm_type, as asking for them is asking for
/// that. Throws mos::Error(kFormat) for an unknown name (with the nearest) and for any config entry
/// that cannot be honoured.
std::unique_ptr<Scheduler> make_scheduler(const std::string& name, const Json& config,
                                          const SchedulerOptions& options = {});

/// numpy.linspace(first, last, count) and numpy.arange(start, 0, -step) to the last bit.
std::vector<double> linspace(double first, double last, std::int64_t count);
std::vector<double> arange_down(double start, double step);

/// Integer timesteps as DDPM, DDIM and PNDM spread them, largest first.
std::vector<double> spaced_timesteps(TimestepSpacing spacing, std::int64_t train_steps,
                                     std::int64_t steps, std::int64_t offset);

/// Karras' noise levels (arXiv 2206.00364, eq. 5, ρ = 7) from `sigma_max` down to `sigma_min`.
std::vector<double> karras_sigmas(double sigma_min, double sigma_max, std::int64_t count);

/// The fractional timestep whose log σ is that of `sigma`, between the entries of log_sigmas [T].
double timestep_of_sigma(double sigma, const std::vector<double>& log_sigmas);

/// The values of a one-dimensional float32 CPU tensor.
std::vector<float> floats_of(const torch::Tensor& values);

/// How x_0 is kept in range: dynamic thresholding (Imagen) or a plain clamp, both off for latents.
struct SampleClipping {
  bool thresholding = false;
  double dynamic_thresholding_ratio = 0.995;
  double sample_max_value = 1.0;
  bool clip_sample = false;
  double clip_sample_range = 1.0;

  static SampleClipping take_from(SchedulerConfig& config, bool clip_by_default);
  torch::Tensor apply(const torch::Tensor& sample) const;
};

/// x_0 and ε as the network's output implies them, all [B,...].
struct Prediction {
  torch::Tensor sample;
  torch::Tensor noise;
};
Prediction predict(PredictionType type, const torch::Tensor& model_output,
                   const torch::Tensor& sample, float alpha_cumprod);

}  // namespace mos::diffusion
