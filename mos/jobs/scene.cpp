#include "mos/jobs/scene.h"

#include <fmt/core.h>

#include <system_error>
#include <utility>

#include "mos/base/counted.h"
#include "mos/base/error.h"
#include "mos/base/json.h"
#include "mos/base/naming.h"
#include "mos/base/text.h"
#include "mos/region/condition.h"
#include "mos/region/new_scene.h"
#include "mos/region/scene_text.h"
#include "mos/region/start_size.h"
#include "mos/session/session.h"
#include "mos/text/prompt_tags.h"

namespace mos::jobs {
namespace {

namespace fs = std::filesystem;

session::ConceptUse use_of(const std::string& text, double default_scale) {
  const auto equals = text.rfind('=');
  std::error_code ignored;
  if (equals == std::string::npos || fs::exists(text, ignored)) return {text, "", default_scale};
  const auto scale = number_in<double>(text.substr(equals + 1));
  if (!scale) {
    throw Error(ErrorKind::kUsage,
                fmt::format("--concept got \"{}\", but expects a number", text.substr(equals + 1)));
  }
  return {text.substr(0, equals), "", *scale};
}

/// `entries` are none, or one for each of `adapters`.
template <class Entry>
void check_count(const std::string& name, const std::vector<Entry>& entries, std::size_t adapters) {
  if (entries.empty() || entries.size() == adapters) return;
  if (adapters == 0) {
    throw Error(ErrorKind::kUsage,
                fmt::format("--{} is of adapters, and there is none: give one with --adapter FILE "
                            "and its picture with --condition FILE",
                            name));
  }
  throw Error(
      ErrorKind::kUsage,
      fmt::format("--{} has {} for {}; give one for each adapter", name,
                  entries.size() == 1 ? "1 entry" : fmt::format("{} entries", entries.size()),
                  counted(adapters, "adapter")));
}

void set_numbers(std::vector<region::Condition>& conditions, const std::string& name,
                 const std::vector<double>& numbers, double region::Condition::*field) {
  check_count(name, numbers, conditions.size());
  for (std::size_t i = 0; i < numbers.size(); ++i) conditions[i].*field = numbers[i];
}

/// Paths in a scene file are those of its folder; where there is no such file, of the working
/// folder.
void place_path(Json& holder, const char* key, const fs::path& folder) {
  if (!holder.is_object()) return;
  const auto found = holder.find(key);
  if (found == holder.end() || !found->is_string()) return;
  const auto path = found->get<std::string>();
  std::error_code ignored;
  if (path.empty() || !fs::exists(folder / path, ignored)) return;
  *found = (folder / path).lexically_normal().string();
}

Json read_scene(const fs::path& file) {
  auto scene = read_json_file(file);
  const auto folder = file.parent_path();
  if (folder.empty() || !scene.is_object()) return scene;
  for (const auto& [list, key] : {std::pair{"regions", "mask"}, std::pair{"conditions", "adapter"},
                                  std::pair{"conditions", "picture"}}) {
    const auto found = scene.find(list);
    if (found == scene.end() || !found->is_array()) continue;
    for (auto& entry : *found) place_path(entry, key, folder);
  }
  return scene;
}

/// The scene's own prompts where others go over them: the files that they name are not wanted.
void leave_out_replaced(Json& scene, const SampleJob& job) {
  if (!scene.is_object()) return;
  const auto leave_out = [&scene](const char* key) {
    const auto found = scene.find(key);
    if (found != scene.end() && found->is_string()) scene.erase(found);
  };
  if (job.prompt) leave_out("prompt");
  if (job.negative_prompt) leave_out("negative_prompt");
}

/// Takes the files that prompts name out of them.
std::vector<text::LoraTag> take_tags(SampleJob& job) {
  std::vector<text::LoraTag> tags;
  if (!job.scene_json.is_null()) tags = region::take_lora_tags(job.scene_json);
  for (auto* prompt : {&job.prompt, &job.negative_prompt, &job.regions}) {
    if (!*prompt) continue;
    auto taken = text::take_lora_tags(**prompt);
    region::add_lora_tags(tags, taken.loras);
    *prompt = std::move(taken.prompt);
  }
  return tags;
}

/// `canvas` for what `options` leave open.
void fill_canvas(region::Canvas canvas, region::SampleOptions& options) {
  if (options.height == 0) options.height = canvas.height;
  if (options.width == 0) options.width = canvas.width;
}

/// Leaves the canvas to the file of a scene that names one, where only the picture `from` says
/// another.
void leave_canvas_to_scene(SampleJob& job) {
  const auto& scene = job.scene_json;
  const auto height = scene.is_object() ? scene.value("height", Json()) : Json();
  if (!height.is_number() || height.get<double>() <= 0.0) return;
  if (job.canvas_of_from.height != 0) job.sample.height = 0;
  if (job.canvas_of_from.width != 0) job.sample.width = 0;
}

/// The canvas of the picture that painting begins with, if there is one, for what `options` leave
/// open. One that grows has the canvas of its scene, but for a recorded one, which is that of the
/// picture before it grew.
void begin_canvas(const SampleJob& job, const region::Scene& scene, std::int64_t factor,
                  region::SampleOptions& options) {
  const auto start = region::canvas_of_start(options.pictures);
  if (!start) return;
  const bool grows = !options.pictures.grow.empty();
  if (grows && scene.canvas && job.from.empty()) fill_canvas(*scene.canvas, options);
  if (options.height == 0 && options.width == 0) {
    region::check_canvas_of_start(options.pictures, *start, factor);
  }
  fill_canvas(*start, options);
  if (!grows) return;
  region::check_grown_canvas(options.pictures, *start, {options.height, options.width}, factor);
}

}  // namespace

std::vector<session::ConceptUse> uses_of(const SampleJob& job) {
  if (job.concepts.empty()) return job.uses;
  std::vector<session::ConceptUse> uses;
  for (const auto& text : job.concepts) uses.push_back(use_of(text, job.merge_scale));
  return uses;
}

SampleJob resolved(SampleJob job) {
  if (!job.scene.empty()) {
    job.scene_json = read_scene(job.scene);
    leave_canvas_to_scene(job);
  }
  job.uses = uses_of(job);
  job.concepts.clear();
  leave_out_replaced(job.scene_json, job);
  auto tags = job.sample.sampler.plain_text ? std::vector<text::LoraTag>() : take_tags(job);
  const auto in_prompts = tags.size();
  region::add_lora_tags(tags, job.loras);
  job.loras.clear();
  for (std::size_t i = 0; i < tags.size(); ++i) {
    const auto painted = i < in_prompts ? std::string() : job.from;
    const auto file = session::find_lora(tags[i].name, job.lora_folder, painted);
    job.uses.push_back({file, "", tags[i].scale});
  }
  return job;
}

bool names_loras(SampleJob job) {
  if (!job.loras.empty()) return true;
  if (job.sample.sampler.plain_text) return false;
  if (!job.scene.empty()) job.scene_json = read_scene(job.scene);
  return !take_tags(job).empty();
}

std::vector<region::Condition> conditions_of(const ConditionLists& lists) {
  const auto adapters = lists.adapter.size();
  check_count("condition", lists.condition, adapters);
  if (lists.condition.size() != adapters) {
    throw Error(ErrorKind::kUsage, "--adapter needs a picture for each adapter: --condition FILE");
  }
  std::vector<region::Condition> conditions;
  for (std::size_t i = 0; i < adapters; ++i) {
    conditions.push_back({.adapter = lists.adapter[i], .picture = lists.condition[i]});
    conditions.back().guess_mode = lists.guess_mode;
  }
  set_numbers(conditions, "adapter-weight", lists.weight, &region::Condition::weight);
  set_numbers(conditions, "adapter-start", lists.start, &region::Condition::start);
  set_numbers(conditions, "adapter-end", lists.end, &region::Condition::end);
  if (!lists.boxes.empty() && adapters != 1) {
    throw Error(ErrorKind::kUsage,
                "--adapter-boxes is for a single adapter; use a scene file for several");
  }
  for (const auto& condition : conditions) {
    region::check_condition(condition, "--adapter " + condition.adapter);
  }
  return conditions;
}

bool has_new_scene(const SampleJob& job) {
  return job.from.empty() || !job.sample.pictures.redo_region.empty();
}

region::Scene compose_scene(const SampleJob& job, const diffusion::Model& model,
                            region::SampleOptions& options) {
  region::Scene scene;
  if (!job.scene_json.is_null()) {
    const auto origin = !job.scene.empty()  ? job.scene
                        : !job.from.empty() ? job.from
                                            : std::string("the scene");
    scene = naming(origin, [&] {
      return region::scene_from_json(job.scene_json, origin, region::canvas_of(model, options));
    });
  }
  begin_canvas(job, scene, model.downscale(), options);
  if (scene.canvas) fill_canvas(*scene.canvas, options);
  const auto canvas = region::canvas_of(model, options);
  diffusion::latent_shape(model, canvas.height, canvas.width);  // throws for impossible sizes
  options.height = canvas.height;
  options.width = canvas.width;
  scene.canvas = canvas;
  if (job.prompt) scene.prompt = *job.prompt;
  if (job.negative_prompt) scene.negative_prompt = *job.negative_prompt;
  if (job.regions) {
    for (auto& region : region::parse_prompt_rewrite(*job.regions, canvas)) {
      scene.regions.push_back(std::move(region));
    }
  }
  if (has_new_scene(job)) {
    naming(job.scene.empty() ? "the scene" : job.scene, [&] { region::check_new_scene(scene); });
  }
  for (auto& condition : conditions_of(job.conditions)) {
    if (!job.conditions.boxes.empty()) {
      condition.boxes = region::parse_box_weights(job.conditions.boxes, canvas);
    }
    scene.conditions.push_back(std::move(condition));
  }
  return scene;
}

}  // namespace mos::jobs
