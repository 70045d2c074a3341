#include "mos/region/guided_steps.h"

#include <fmt/core.h>

#include <algorithm>
#include <memory>

#include "mos/diffusion/denoise.h"
#include "mos/diffusion/scheduler.h"
#include "mos/diffusion/sigma/sigma_grid.h"
#include "mos/region/span.h"

namespace mos::region {
namespace {

/// That of `options`, with its steps.
std::unique_ptr<diffusion::Scheduler> scheduler_of(const diffusion::Model& model,
                                                   const SampleOptions& options) {
  auto scheduler = diffusion::make_scheduler(
      options.scheduler, sampler_config(options.sampler, model.settings.scheduler_config),
      scheduler_options(options.sampler, options.eta));
  scheduler->set_timesteps(options.steps);
  return scheduler;
}

/// The noise levels at which the network is called, as denoise() compares them with the limits.
std::vector<double> levels_of(const diffusion::Model& model, const SampleOptions& options) {
  const auto scheduler = scheduler_of(model, options);
  const diffusion::NoiseLevels levels(scheduler->noise_schedule());
  std::vector<double> sigmas;
  for (const double timestep : scheduler->timesteps()) sigmas.push_back(levels.at(timestep));
  return sigmas;
}

/// The first call of the passes, of which a later one has all calls that an earlier one has.
std::int64_t first_call(const diffusion::Scheduler& scheduler, const PictureOptions& pictures) {
  double strength = strength_of(pictures);
  if (pictures.hires != 1.0) strength = std::max(strength, pictures.hires_strength);
  return diffusion::first_call_of(scheduler, strength).value_or(0);
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

std::vector<std::string> idle_spans(const diffusion::Model& model, const Scene& scene,
                                    const SampleOptions& options) {
  const auto has_span = [](const auto& one) { return one.start != 0.0 || one.end != 1.0; };
  if (std::ranges::none_of(scene.regions, has_span) &&
      std::ranges::none_of(scene.conditions, has_span)) {
    return {};
  }
  const auto scheduler = scheduler_of(model, options);
  const auto total = static_cast<std::int64_t>(scheduler->timesteps().size());
  const auto first = first_call(*scheduler, options.pictures);
  const auto share = [total](std::int64_t index) {
    return static_cast<double>(index) / static_cast<double>(total);
  };
  std::vector<std::string> sentences;
  const auto name_idle = [&](const std::string& what, Span span, const auto& is_on) {
    for (auto index = first; index < total; ++index) {
      if (is_on(index)) return;
    }
    sentences.push_back(fmt::format(
        "{} is on in no step: its start is {} and its end {}, and steps begin at {:.4g} and then "
        "every {:.4g}; begin it earlier, end it later, or take more steps",
        what, span.start, span.end, share(first), share(1)));
  };
  for (std::size_t i = 0; i < scene.regions.size(); ++i) {
    const Span span{scene.regions[i].start, scene.regions[i].end};
    name_idle(fmt::format("region {} \"{}\"", i + 1, scene.regions[i].prompt), span,
              [&](std::int64_t index) { return begins_in(span, share(index)); });
  }
  for (const auto& condition : scene.conditions) {
    const Span span{condition.start, condition.end};
    name_idle(fmt::format("the adapter {}", condition.adapter), span,
              [&](std::int64_t index) { return lies_in(span, index, total); });
  }
  return sentences;
}

}  // namespace mos::region
