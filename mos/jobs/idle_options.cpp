#include "mos/jobs/idle_options.h"

#include <fmt/core.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <string>
#include <vector>

#include "mos/base/error.h"
#include "mos/base/json.h"
#include "mos/base/log.h"
#include "mos/base/naming.h"
#include "mos/base/require.h"
#include "mos/diffusion/scheduler_names.h"
#include "mos/jobs/scene.h"
#include "mos/region/guided_steps.h"
#include "mos/region/region_mask.h"
#include "mos/region/region_size.h"
#include "mos/region/scene_text.h"
#include "mos/region/subjects.h"

namespace mos::jobs {
namespace {

using region::Compose;

/// Of the texts of each picture, where prompts have choices.
void check_subjects(const SampleJob& job, const session::Session& opened,
                    const region::Scene& scene) {
  const region::SubjectReader reader(opened.model, opened.tokens, job.sample.sampler);
  const bool has_choices = !job.sample.sampler.plain_text && region::has_choices(scene);
  const auto pictures = has_choices ? job.sample.count : 1;
  for (std::int64_t i = 0; i < pictures; ++i) {
    const auto seed = job.sample.seed + static_cast<std::uint64_t>(i);
    region::check_subjects(reader, has_choices ? region::choose_texts(scene, seed) : scene);
  }
}

/// Whether the scene has regions, or will have.
bool has_regions(const SampleJob& job, const region::Scene& scene) {
  return !scene.regions.empty() || job.sample.sampler.auto_regions;
}

void check_composition(const SampleJob& job, const session::Session& opened,
                       const region::Scene& scene) {
  const auto compose = job.sample.sampler.compose;
  if (compose == Compose::kMerged) return;
  const auto name = choice_name(compose);
  require(!opened.guests.empty(),
          fmt::format("--compose {} says where concepts act, and there are none but the base "
                      "model's own: give some with --concept",
                      name));
  const bool in_turn = compose == Compose::kSwitch || compose == Compose::kComposite;
  require(in_turn || has_regions(job, scene),
          fmt::format("--compose {} lets concepts act in the regions whose prompts have their "
                      "words, and there are no regions: give some with --scene or --regions",
                      name));
}

/// What would be refused only when regions have been searched for and found.
void check_without_regions(const SampleJob& job, const region::Scene& scene) {
  if (!has_regions(job, scene)) return;
  const auto& sampler = job.sample.sampler;
  const auto* found = sampler.auto_regions ? ", and --auto-regions finds some" : "";
  require(sampler.compose != Compose::kSwitch && sampler.compose != Compose::kComposite,
          fmt::format("--compose {} is for pictures without regions{}: take own where each concept "
                      "has one",
                      choice_name(sampler.compose), found));
  require(sampler.structure != region::Structure::kConjunction,
          fmt::format("--structure conjunction is for pictures without regions{}: take values with "
                      "them",
                      found));
}

/// Does `check`; where the scene is a recorded one, what that throws is said alone.
template <class Check>
void refuse_or_warn(bool refuses, const Check& check) {
  try {
    check();
  } catch (const Error& error) {
    if (refuses || error.kind() != ErrorKind::kUsage) throw;
    log::warn(error.what());
  }
}

void warn_of_idle_steps(const SampleJob& job) {
  if (job.preview > 1 && job.preview >= job.sample.steps) {
    log::warn(fmt::format("there is no preview: --preview is {}, and there are {} steps",
                          job.preview, job.sample.steps));
  }
  if (job.batch > job.sample.count) {
    log::warn(fmt::format("--batch is {}, and there are no more pictures than --count says, {}",
                          job.batch, job.sample.count));
  }
}

/// Only diffusers' own steps are spread; levels of a grid and the steps of few are what they are.
void warn_of_idle_spacing(const region::SampleOptions& options, const diffusion::Model& model) {
  const auto &spacing = options.sampler.spacing, &sigmas = options.sampler.sigmas;
  const auto name = scheduler_of(options, model);
  const auto found = diffusion::find_scheduler(name);
  if (spacing.empty() || !found) return;
  const std::string row = found->entry->name;
  std::string why;
  if (!diffusion::sigmas_for(*found, sigmas).empty()) {
    why = fmt::format("{} says which noise levels are visited",
                      sigmas.empty() ? "--scheduler " + name : "--sigmas " + sigmas);
  } else if (row == "lcm" || row == "tcd") {
    why = fmt::format("{} takes steps of its own choice", name);
  }
  if (!why.empty()) log::warn(fmt::format("--spacing {} changes nothing: {}", spacing, why));
}

bool has_negative_prompt(const region::Scene& scene) {
  return !scene.negative_prompt.empty() || !scene.root_negative_prompt.empty() ||
         std::ranges::any_of(scene.regions,
                             [](const auto& region) { return !region.negative_prompt.empty(); });
}

void warn_of_idle_guidance(const SampleJob& job, const diffusion::Model& model,
                           const region::Scene& scene) {
  if (job.sample.guidance_scale > 1.0) {
    const auto idle = region::idle_guidance(model, job.sample);
    if (!idle.empty()) log::warn(idle);
  } else if (has_negative_prompt(scene)) {
    log::warn(
        fmt::format("the negative prompt is not used: it is of guidance, and a "
                    "--guidance-scale of {} is none; take one above 1",
                    job.sample.guidance_scale));
  }
}

void warn_of_idle_rules(const SampleJob& job, const region::Scene& scene) {
  if (has_regions(job, scene)) return;
  std::vector<std::string> rules;
  if (scene.overlap != "mean") rules.push_back("\"overlap\"");
  if (scene.base_ratio != 0.0) rules.push_back("\"base_ratio\"");
  if (scene.isolate) rules.push_back("\"isolate\"");
  if (rules.empty()) return;
  log::warn(
      fmt::format("the scene has no regions, where nothing comes of {}", fmt::join(rules, ", ")));
}

}  // namespace

std::string scheduler_of(const region::SampleOptions& options, const diffusion::Model& model) {
  if (!options.scheduler.empty()) return options.scheduler;
  return json_value<std::string>(model.settings.scheduler_config, "_class_name", "");
}

void check_wishes(const SampleJob& job, const session::Session& opened,
                  const region::Scene& scene) {
  const auto origin = job.scene.empty() ? "the scene" : job.scene;
  const bool is_new = has_new_scene(job);
  // A new prompt is nobody's record.
  refuse_or_warn(is_new || job.prompt,
                 [&] { naming(origin, [&] { check_subjects(job, opened, scene); }); });
  refuse_or_warn(is_new, [&] {
    naming(origin, [&] { region::check_background(scene, scene.canvas.value()); });
  });
  refuse_or_warn(is_new, [&] { check_composition(job, opened, scene); });
  check_without_regions(job, scene);
}

void warn_of_idle(const SampleJob& job, const diffusion::Model& model, const region::Scene& scene) {
  warn_of_idle_steps(job);
  warn_of_idle_spacing(job.sample, model);
  warn_of_idle_guidance(job, model, scene);
  for (const auto& idle : region::idle_spans(model, scene, job.sample)) log::warn(idle);
  for (const auto& faint : region::faint_regions(model, scene)) log::warn(faint);
  warn_of_idle_rules(job, scene);
  if (job.uses.empty()) warn_of_idle_keys(job.keys);
}

void warn_of_idle_keys(const session::KeyOptions& keys) {
  if (!keys.list_keys && !keys.allow_unexpected) return;
  log::warn(fmt::format("--{} is of concept files, and there are none",
                        keys.list_keys ? "list-keys" : "allow-unexpected"));
}

}  // namespace mos::jobs
