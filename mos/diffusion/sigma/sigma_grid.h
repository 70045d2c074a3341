#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "mos/diffusion/noise_schedule.h"
#include "mos/diffusion/scheduler.h"

/// Which noise levels σ = √((1−ᾱ)/ᾱ) a sampler visits.
namespace mos::diffusion {

/// σ of every training timestep, and what lies between two of them.
class NoiseLevels {
 public:
  explicit NoiseLevels(const NoiseSchedule& schedule);

  /// At a fractional timestep, straight in log σ (k-diffusion).
  double at(double timestep) const;
  /// At a fractional timestep, straight in σ (numpy.interp, diffusers).
  double linear_at(double timestep) const;
  /// The fractional timestep of a level; the first or last one beyond the table.
  double timestep_of(double sigma) const { return timestep_of_sigma(sigma, logs_); }

  double smallest() const { return sigmas_.front(); }
  double largest() const { return sigmas_.back(); }
  double last_timestep() const { return static_cast<double>(sigmas_.size() - 1); }
  const std::vector<double>& sigmas() const { return sigmas_; }

 private:
  std::vector<double> sigmas_, logs_;
};

/// Levels from noise to picture, without a final zero, and the timestep that the network is told
/// for each.
struct SigmaGrid {
  std::vector<double> sigmas;
  std::vector<double> timesteps;
};

/// Names of --sigmas with one line about each, as ComfyUI calls them.
struct SigmaGridName {
  const char* name;
  const char* a1111;  ///< Schedule type.
  const char* about;
};
const std::vector<SigmaGridName>& sigma_grid_names();

/// The grid's own name for what ComfyUI or A1111 call it ("SGM Uniform", "Uniform"), or an empty
/// string.
std::string find_sigma_grid(std::string_view name);

/// Whether `name` is "automatic" in any case: the grid that A1111 takes for a scheduler.
bool is_automatic(std::string_view name);

/// The grid called `name`, one of sigma_grid_names():
///   karras       straight in σ^(1/7) between the ends of the table (arXiv 2206.00364, eq. 5)
///   exponential  straight in log σ between the ends
///   normal       timesteps straight from T−1 to 0, both ends included (k-diffusion's own)
///   sgm_uniform  the same without its end at 0
///   simple       every (T/steps)-th entry of the table, from the noisy end
///   beta         timesteps at the quantiles of Beta(0.6, 0.6) (arXiv 2407.12173), repeated ones
///                dropped, so that there can be fewer than `steps`
SigmaGrid sigma_grid(const std::string& name, const NoiseLevels& levels, std::int64_t steps);

/// How diffusers' samplers in σ spread their steps: what their configs say.
struct ConfiguredGrid {
  TimestepSpacing spacing = TimestepSpacing::kLinspace;
  std::int64_t steps_offset = 0;
  bool log_linear = false;  ///< `interpolation_type`
  bool karras = false;      ///< `use_karras_sigmas`

  static ConfiguredGrid take_from(SchedulerConfig& config);
  SigmaGrid at(const NoiseSchedule& schedule, std::int64_t steps) const;
};

/// Whole timesteps as diffusers' DPM-Solver and UniPC spread them, repeated ones dropped: `last` is
/// one more than the noisiest timestep to be used.
std::vector<double> solver_timesteps(TimestepSpacing spacing, std::int64_t last,
                                     std::int64_t train_steps, std::int64_t steps,
                                     std::int64_t offset);

}  // namespace mos::diffusion
