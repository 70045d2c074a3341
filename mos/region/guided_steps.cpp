#include "mos/region/guided_steps.h"

#include <fmt/core.h>

#include <algorithm>
#include <vector>

#include "mos/diffusion/scheduler.h"
#include "mos/diffusion/sigma/sigma_grid.h"

namespace mos::region {
namespace {

/// The noise levels at which the network is called, as denoise() compares them with the limits.
std::vector<double> levels_of(const diffusion::Model& model, const SampleOptions& options) {
  const auto scheduler = diffusion::make_scheduler(
      options.scheduler, sampler_config(options.sampler, model.settings.scheduler_config),
      scheduler_options(options.sampler, options.eta));
  scheduler->set_timesteps(options.steps);
  const diffusion::NoiseLevels levels(scheduler->noise_schedule());
  std::vector<double> sigmas;
  for (const double timestep : scheduler->timesteps()) sigmas.push_back(levels.at(timestep));
  return sigmas;
}

}  // namespace

std::string idle_guidance(const diffusion::Model& model, const SampleOptions& options) {
  const double start = options.sampler.guidance_start, end = options.sampler.guidance_end;
  if (start == 0.0 && end == 0.0) return "";
  const auto limits = guidance_options(options.sampler);
  const auto sigmas = levels_of(model, options);
  const auto [least, most] = std::ranges::minmax(sigmas);
  const bool is_on = std::ranges::any_of(sigmas, [&](double sigma) {
    return sigma <= limits.sigma_start && sigma > limits.sigma_end;
  });
  const auto falls = fmt::format("sigma falls from {:.4g} to {:.4g} in these steps", most, least);
  if (!is_on) {
    return fmt::format("guidance is never on: --guidance-start is {} and --guidance-end {}, and {}",
                       start, end, falls);
  }
  if (start < most) return "";
  return fmt::format("guidance is on from the beginning: --guidance-start is {}, and {}", start,
                     falls);
}

}  // namespace mos::region
