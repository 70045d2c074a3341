#include "mos/diffusion/sigma/sigma_grid.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>

#include "mos/base/error.h"
#include "mos/base/text.h"
#include "mos/diffusion/sigma/beta_quantile.h"

namespace mos::diffusion {
namespace {

/// numpy.interp of `table` at a fractional position.
double interpolate(const std::vector<double>& table, double position) {
  const auto last = static_cast<double>(table.size() - 1);
  const double low = std::floor(std::clamp(position, 0.0, last));
  const auto index = static_cast<std::size_t>(low);
  if (index + 1 == table.size()) return table[index];
  return table[index] + (table[index + 1] - table[index]) * (position - low);
}

std::vector<double> log_spaced(double first, double last, std::int64_t count) {
  auto sigmas = linspace(std::log(first), std::log(last), count);
  for (auto& sigma : sigmas) sigma = std::exp(sigma);
  return sigmas;
}

SigmaGrid of_sigmas(const NoiseLevels& levels, std::vector<double> sigmas) {
  SigmaGrid grid{std::move(sigmas), {}};
  for (const double sigma : grid.sigmas) grid.timesteps.push_back(levels.timestep_of(sigma));
  return grid;
}

SigmaGrid of_timesteps(const NoiseLevels& levels, std::vector<double> timesteps) {
  SigmaGrid grid{{}, std::move(timesteps)};
  for (const double timestep : grid.timesteps) grid.sigmas.push_back(levels.at(timestep));
  return grid;
}

SigmaGrid simple_grid(const NoiseLevels& levels, std::int64_t steps) {
  const auto count = static_cast<double>(levels.sigmas().size());
  std::vector<double> timesteps;
  for (std::int64_t i = 0; i < steps; ++i) {
    // Counted back from the noisiest, so the first step is the same for any number of them.
    const double back = std::floor(static_cast<double>(i) * (count / static_cast<double>(steps)));
    timesteps.push_back(count - 1.0 - back);
  }
  return of_timesteps(levels, std::move(timesteps));
}

SigmaGrid beta_grid(const NoiseLevels& levels, std::int64_t steps) {
  constexpr double kShape = 0.6;  // both parameters, the paper's
  std::vector<double> timesteps;
  for (std::int64_t i = 0; i < steps; ++i) {
    const double share = 1.0 - static_cast<double>(i) / static_cast<double>(steps);
    timesteps.push_back(
        std::nearbyint(beta_quantile(share, kShape, kShape) * levels.last_timestep()));
  }
  timesteps.erase(std::unique(timesteps.begin(), timesteps.end()), timesteps.end());
  return of_timesteps(levels, std::move(timesteps));
}

}  // namespace

NoiseLevels::NoiseLevels(const NoiseSchedule& schedule) {
  for (const float sigma : floats_of(schedule.sigmas())) {
    sigmas_.push_back(sigma);
    logs_.push_back(std::log(sigma));  // float32's logarithm, as diffusers takes it
  }
}

double NoiseLevels::at(double timestep) const { return std::exp(interpolate(logs_, timestep)); }

double NoiseLevels::linear_at(double timestep) const { return interpolate(sigmas_, timestep); }

const std::vector<SigmaGridName>& sigma_grid_names() {
  static const std::vector<SigmaGridName> names = {
      {"karras", "Karras", "straight in the seventh root of sigma"},
      {"exponential", "Exponential", "straight in log sigma"},
      {"sgm_uniform", "SGM Uniform", "even timesteps that stop before 0"},
      {"simple", "Simple", "every n-th level of the model"},
      {"beta", "Beta", "more steps at both ends"},
      {"normal", "Uniform", "even timesteps from the noisiest to 0"},
  };
  return names;
}

std::string find_sigma_grid(std::string_view name) {
  const auto plain = replaced(lower_ascii(std::string(name)), " ", "_");
  // A1111's word for what ComfyUI calls normal.
  if (plain == "uniform") return "normal";
  for (const auto& entry : sigma_grid_names()) {
    if (plain == entry.name) return plain;
  }
  return "";
}

bool is_automatic(std::string_view name) { return lower_ascii(std::string(name)) == "automatic"; }

SigmaGrid sigma_grid(const std::string& name, const NoiseLevels& levels, std::int64_t steps) {
  const double last = levels.last_timestep();
  if (name == "karras") {
    return of_sigmas(levels, karras_sigmas(levels.smallest(), levels.largest(), steps));
  }
  if (name == "exponential") {
    return of_sigmas(levels, log_spaced(levels.largest(), levels.smallest(), steps));
  }
  if (name == "normal") return of_timesteps(levels, linspace(last, 0.0, steps));
  if (name == "sgm_uniform") {
    // One more than asked for, and without the last: the final step goes from above 0 to the
    // picture.
    auto timesteps = linspace(last, 0.0, steps + 1);
    timesteps.pop_back();
    return of_timesteps(levels, std::move(timesteps));
  }
  if (name == "simple") return simple_grid(levels, steps);
  if (name == "beta") return beta_grid(levels, steps);
  throw Error(ErrorKind::kUsage, fmt::format("there are no sigmas called \"{}\"", name));
}

ConfiguredGrid ConfiguredGrid::take_from(SchedulerConfig& config) {
  ConfiguredGrid grid;
  grid.spacing = config.take_spacing("linspace");
  grid.steps_offset = config.take_steps_offset();
  grid.log_linear =
      config.take_choice("interpolation_type", "linear", {"linear", "log_linear"}) == "log_linear";
  grid.karras = config.take("use_karras_sigmas", false);
  // What is pinned is known and has one value here; a config with another would paint something
  // else, so it is refused.
  config.pin("use_exponential_sigmas", false);
  config.pin("use_beta_sigmas", false);
  config.pin("timestep_type", "discrete");
  config.pin("final_sigmas_type", "zero");
  config.pin("sigma_min", nullptr);
  config.pin("sigma_max", nullptr);
  return grid;
}

SigmaGrid ConfiguredGrid::at(const NoiseSchedule& schedule, std::int64_t steps) const {
  const NoiseLevels levels(schedule);
  SigmaGrid grid;
  if (spacing == TimestepSpacing::kLinspace) {
    grid.timesteps = linspace(0, levels.last_timestep(), steps);
    std::reverse(grid.timesteps.begin(), grid.timesteps.end());
  } else {
    grid.timesteps = spaced_timesteps(spacing, schedule.size(), steps, steps_offset);
  }
  if (log_linear) {
    // With one more than there are timesteps, as diffusers has it; the surplus is never stepped to.
    grid.sigmas = log_spaced(levels.largest(), levels.smallest(), steps + 1);
  } else {
    for (const double t : grid.timesteps) grid.sigmas.push_back(levels.linear_at(t));
  }
  // diffusers: between the ends of the grid that stands already, not of the model.
  return karras ? of_sigmas(levels, karras_sigmas(grid.sigmas.back(), grid.sigmas.front(), steps))
                : grid;
}

std::vector<double> solver_timesteps(TimestepSpacing spacing, std::int64_t last,
                                     std::int64_t train_steps, std::int64_t steps,
                                     std::int64_t offset) {
  std::vector<double> timesteps;
  if (spacing == TimestepSpacing::kLinspace) {
    for (const double t : linspace(0, static_cast<double>(last - 1), steps + 1)) {
      timesteps.insert(timesteps.begin(), std::nearbyint(t));
    }
    timesteps.pop_back();
  } else if (spacing == TimestepSpacing::kLeading) {
    const auto stride = last / (steps + 1);
    for (auto i = steps; i > 0; --i) timesteps.push_back(static_cast<double>(i * stride + offset));
  } else {
    const double stride = static_cast<double>(train_steps) / static_cast<double>(steps);
    for (const double t : arange_down(static_cast<double>(last), stride)) {
      timesteps.push_back(std::nearbyint(t) - 1);
    }
  }
  timesteps.erase(std::unique(timesteps.begin(), timesteps.end()), timesteps.end());
  return timesteps;
}

}  // namespace mos::diffusion
