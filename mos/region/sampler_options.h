#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "mos/base/choice.h"
#include "mos/base/counts.h"
#include "mos/base/factor.h"
#include "mos/base/json.h"
#include "mos/concepts/prompt_encoder.h"
#include "mos/diffusion/denoise.h"
#include "mos/diffusion/noise_schedule.h"
#include "mos/diffusion/scheduler.h"
#include "mos/region/guide.h"
#include "mos/region/structure.h"

namespace mos::region {

/// Where concepts act in a picture with regions; see session/composition.h.
enum class Compose {
  kMerged,     ///< Everywhere: their updates are summed into the weights.
  kText,       ///< Each region reads its prompt with the text path of the concepts it calls.
  kLayers,     ///< The rest of attention changes only where their regions are.
  kOwn,        ///< Both.
  kSwitch,     ///< Everywhere, but one after the other (LoRA Switch, arXiv 2402.16843).
  kComposite,  ///< Everywhere, the mean of what the network says with each (LoRA Composite, same).
};
constexpr auto choice_names(Compose) {
  return std::to_array<Named<Compose>>({{"merged", Compose::kMerged},
                                        {"text", Compose::kText},
                                        {"layers", Compose::kLayers},
                                        {"own", Compose::kOwn},
                                        {"switch", Compose::kSwitch},
                                        {"composite", Compose::kComposite}});
}

inline constexpr std::int64_t kSwitchEvery = 5;  ///< As its authors.
inline constexpr double kLargestSigma = 1e6;     ///< More noise than any schedule has.
/// Of CLIP's text encoder in 1.x; 2.x has 23 stored.
inline constexpr std::int64_t kMostClipLayers = 12;

/// Everything about sampling that most pictures leave alone. A record holds what differs from the
/// defaults.
struct SamplerOptions {
  std::string sigmas;   ///< See diffusion::SchedulerOptions; empty: as the model says.
  std::string spacing;  ///< leading, linspace or trailing instead of the model's; empty: its own.
  double ancestral_eta = -1.0;  ///< See diffusion::SchedulerOptions; -1: empty.
  bool zero_snr = false;        ///< Rescale the noise schedule to zero terminal SNR.
  double guidance_rescale = 0.0;
  double guidance_start = 0.0;       ///< σ from which guidance is on; 0: from the beginning.
  double guidance_end = 0.0;         ///< σ at which it ends.
  double perturbed_attention = 0.0;  ///< See diffusion::GuidanceOptions::perturbed.
  std::int64_t clip_skip = 1;  ///< A1111's: 1 the last layer of the text encoder, 2 the one before.
  std::string noise = "cpu";   ///< cpu or a1111.
  Compose compose = Compose::kMerged;
  std::int64_t switch_every = kSwitchEvery;  ///< Steps of each concept in turn, of kSwitch.
  bool plain_text = false;                   ///< Brackets, ++ and BREAK in prompts mean nothing.
  Guide guide = Guide::kNone;
  double guide_scale = 1.0;           ///< On the guide's own steps.
  std::vector<std::string> subjects;  ///< Words of the prompt; empty: its concept words.
  Structure structure = Structure::kNone;
  std::int64_t hard_binding = 0;  ///< Steps at first in which every region is painted alone.
  bool auto_regions = false;      ///< Find a region for each subject in the first steps.
};

template <class Visitor>
void describe_sampling(Visitor& visit, SamplerOptions& options) {
  visit("sigmas", options.sigmas,
        "karras, exponential, sgm_uniform, simple, beta, normal or automatic (as A1111); empty: as "
        "the model says");
  visit("spacing", options.spacing, "leading, linspace or trailing timesteps; empty: the model's",
        one_of({"", "leading", "linspace", "trailing"}));
  visit("ancestral_eta", options.ancestral_eta,
        "fresh noise of ancestral, SDE and TCD steps, 0 to 1; -1: 1, TCD 0.3", between(-1, 1));
  visit("zero_snr", options.zero_snr, "rescale the noise schedule to zero terminal SNR");
  visit("guidance_rescale", options.guidance_rescale,
        "how much of its contrast guidance gives back, 0 to 1", between(0, 1));
  visit("guidance_start", options.guidance_start,
        "guidance only from this sigma on, which falls while painting, from 15 or so to 0; 0: from "
        "the beginning",
        between(0, kLargestSigma));
  visit("guidance_end", options.guidance_end,
        "guidance only down to this sigma, below that of guidance_start; 0: to the end",
        between(0, kLargestSigma));
  visit("perturbed_attention", options.perturbed_attention,
        "share of self-attention that the unconditional half of guidance goes without, 0 to 1: "
        "sharper pictures in the same time",
        between(0, 1));
  visit("clip_skip", options.clip_skip, "layer of the text encoder: 1 the last, 2 the one before",
        count_of(1, kMostClipLayers));
  visit("compose", options.compose,
        "where concepts act: merged (everywhere), or own: each in the regions whose prompt has its "
        "word; text and layers are the halves of that; switch: in turn; composite: the mean of the "
        "predictions with each");
  visit("switch_every", options.switch_every, "steps of each concept, of compose switch",
        count_of(1, kMostDenoisingSteps));
  visit("guide", options.guide,
        "move the latents until every subject is looked at: attend (Attend-and-Excite); or where "
        "its region is: layout (cross-attention guidance), bounded (bounded attention), composer "
        "(LoRA-Composer)");
  visit("guide_scale", options.guide_scale,
        "factor on the guide's steps; 0: only say what they would be for",
        between(0, kLargestFactor));
  visit("subjects", options.subjects,
        "words of the prompt that guide, structure and auto_regions are about; empty: its concept "
        "words, for structure its noun phrases");
  visit("structure", options.structure,
        "noun phrases keep their own words (Structure Diffusion): values, or conjunction for its "
        "second form");
  visit("hard_binding", options.hard_binding,
        "steps at first in which every region is painted alone (RAG-Diffusion)",
        count_of(0, kMostDenoisingSteps));
  visit("auto_regions", options.auto_regions,
        "find where subjects are in the first steps, and begin again with a region for each");
  visit("plain_text", options.plain_text, "brackets, ++, BREAK and the like are plain text");
  visit("noise", options.noise, "starting noise for a seed: cpu (as diffusers) or a1111 (as a GPU)",
        one_of({"cpu", "a1111"}));
}

/// Throws kUsage naming the first option that is impossible on any model.
void check_sampler_options(const SamplerOptions& options);

/// `config` of a model with what the options change in it.
Json sampler_config(const SamplerOptions& options, Json config);

/// How prompts are read.
concepts::PromptOptions prompt_options(const SamplerOptions& options);

/// What make_scheduler takes of the options.
diffusion::SchedulerOptions scheduler_options(const SamplerOptions& options, double eta);

diffusion::GuidanceOptions guidance_options(const SamplerOptions& options);

}  // namespace mos::region
