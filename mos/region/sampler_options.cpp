#include "mos/region/sampler_options.h"

#include <fmt/core.h>

#include "mos/base/error.h"
#include "mos/base/text_distance.h"

namespace mos::region {
namespace {

void require_one_of(const std::string& name, const std::string& value,
                    const std::vector<std::string>& allowed) {
  for (const auto& one : allowed) {
    if (value == one) return;
  }
  std::string list;
  for (const auto& one : allowed) {
    if (!one.empty()) list += (list.empty() ? "" : ", ") + one;
  }
  throw Error(ErrorKind::kUsage, fmt::format("{} is \"{}\", expected one of {}{}", name, value,
                                             list, did_you_mean(value, allowed)));
}

}  // namespace

void check_sampler_options(const SamplerOptions& options) {
  constexpr std::int64_t kMostLayers = 12;  // of CLIP's text encoder in 1.x; 2.x has 23 stored
  const auto require = [](bool holds, const std::string& message) {
    if (!holds) throw Error(ErrorKind::kUsage, message);
  };
  require(
      options.switch_every == kSwitchEvery || options.compose == Compose::kSwitch,
      fmt::format("switch_every is {}, which says something of compose switch alone; compose is "
                  "{}",
                  options.switch_every, choice_name(options.compose)));
  require_one_of("noise", options.noise, {"cpu", "a1111"});
  require_one_of("spacing", options.spacing, {"", "leading", "linspace", "trailing"});
  require(options.guidance_rescale >= 0.0 && options.guidance_rescale <= 1.0,
          fmt::format("guidance_rescale is {}, expected 0 to 1", options.guidance_rescale));
  require(options.guidance_start >= 0.0 && options.guidance_end >= 0.0,
          "guidance_start and guidance_end are noise levels and must not be below 0");
  require(
      options.guidance_start == 0.0 || options.guidance_start > options.guidance_end,
      fmt::format("guidance_start is {} and guidance_end {}: sigma falls while sampling, so the "
                  "start must be the larger one",
                  options.guidance_start, options.guidance_end));
  require(options.clip_skip >= 1 && options.clip_skip <= kMostLayers,
          fmt::format("clip_skip is {}, expected 1 (the last layer) to {}", options.clip_skip,
                      kMostLayers));
}

Json sampler_config(const SamplerOptions& options, Json config) {
  if (!options.spacing.empty()) config["timestep_spacing"] = options.spacing;
  if (options.zero_snr) config["rescale_betas_zero_snr"] = true;
  return config;
}

diffusion::SchedulerOptions scheduler_options(const SamplerOptions& options, double eta) {
  diffusion::SchedulerOptions result{.eta = eta, .sigmas = options.sigmas};
  if (options.ancestral_eta != -1.0) result.ancestral_eta = options.ancestral_eta;
  return result;
}

diffusion::GuidanceOptions guidance_options(const SamplerOptions& options) {
  diffusion::GuidanceOptions guidance;
  guidance.rescale = options.guidance_rescale;
  if (options.guidance_start > 0.0) guidance.sigma_start = options.guidance_start;
  guidance.sigma_end = options.guidance_end;
  return guidance;
}

}  // namespace mos::region
