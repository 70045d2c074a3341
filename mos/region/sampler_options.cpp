#include "mos/region/sampler_options.h"

#include <fmt/core.h>

#include "mos/base/require.h"

namespace mos::region {
void check_sampler_options(const SamplerOptions& options) {
  require(
      options.switch_every == kSwitchEvery || options.compose == Compose::kSwitch,
      fmt::format("switch_every is {}, which says something of compose switch alone; compose is "
                  "{}",
                  options.switch_every, choice_name(options.compose)));
  require(options.guide != Guide::kNone || options.guide_scale == 1.0,
          "guide_scale is of a guide, and guide is none: ask for one, attend for example");
  require(options.guide != Guide::kNone || options.structure != Structure::kNone ||
              options.auto_regions || options.subjects.empty(),
          "subjects are named for guide, structure or auto_regions, and there is none of them: ask "
          "for guide attend, for example");
  require(options.guide == Guide::kNone || options.compose != Compose::kComposite,
          "a guide follows one gradient, and compose composite has several networks: leave out one "
          "of them");
  const bool is_merged = options.compose == Compose::kMerged;
  require(options.hard_binding == 0 || is_merged,
          "hard_binding paints regions apart with all concepts merged: it goes with compose merged "
          "alone");
  require(
      options.guidance_start == 0.0 || options.guidance_start > options.guidance_end,
      fmt::format("guidance_start is {} and guidance_end {}: sigma falls while sampling, so the "
                  "start must be the larger one",
                  options.guidance_start, options.guidance_end));
}

Json sampler_config(const SamplerOptions& options, Json config) {
  if (!options.spacing.empty()) config["timestep_spacing"] = options.spacing;
  if (options.zero_snr) config["rescale_betas_zero_snr"] = true;
  return config;
}

concepts::PromptOptions prompt_options(const SamplerOptions& options) {
  return {.plain_text = options.plain_text, .clip_skip = options.clip_skip};
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
  guidance.perturbed = options.perturbed_attention;
  return guidance;
}

}  // namespace mos::region
