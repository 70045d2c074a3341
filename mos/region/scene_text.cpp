#include "mos/region/scene_text.h"

#include <fmt/core.h>

#include <algorithm>

#include "mos/base/error.h"
#include "mos/region/region_mask.h"

namespace mos::region {

std::vector<std::string> prompts_of(const Scene& scene) {
  std::vector<std::string> prompts = {scene.prompt, scene.negative_prompt};
  for (const auto& region : scene.regions) {
    prompts.push_back(region.prompt);
    prompts.push_back(region.negative_prompt);
  }
  return prompts;
}

std::vector<std::string> encoded_prompts_of(const Scene& scene) {
  return prompts_of(with_root_prompts(scene));
}

bool has_choices(const Scene& scene) {
  auto prompts = prompts_of(scene);
  prompts.insert(prompts.end(), {scene.root_prompt, scene.root_negative_prompt});
  return std::any_of(prompts.begin(), prompts.end(), text::has_choice);
}

Scene choose_texts(Scene scene, std::uint64_t seed) {
  const auto settle = [seed](std::string& prompt) { prompt = text::choose(prompt, seed); };
  for (auto* prompt :
       {&scene.root_prompt, &scene.root_negative_prompt, &scene.prompt, &scene.negative_prompt}) {
    settle(*prompt);
  }
  for (auto& region : scene.regions) {
    settle(region.prompt);
    settle(region.negative_prompt);
  }
  return scene;
}

void add_lora_tags(std::vector<text::LoraTag>& tags, const std::vector<text::LoraTag>& more) {
  for (const auto& tag : more) {
    const auto same = std::find_if(tags.begin(), tags.end(), [&tag](const text::LoraTag& known) {
      return known.name == tag.name;
    });
    if (same == tags.end()) {
      tags.push_back(tag);
    } else if (same->scale != tag.scale) {
      throw Error(
          ErrorKind::kUsage,
          fmt::format("<lora:{}> is asked for with the scales {} and {}, but it is merged once "
                      "for the whole picture: give one scale",
                      tag.name, same->scale, tag.scale));
    }
  }
}

std::vector<text::LoraTag> take_lora_tags(Json& scene) {
  std::vector<text::LoraTag> tags;
  const auto take = [&tags](Json& holder) {
    if (!holder.is_object()) return;
    for (const char* key : {"root_prompt", "root_negative_prompt", "prompt", "negative_prompt"}) {
      const auto found = holder.find(key);
      if (found == holder.end() || !found->is_string()) continue;
      auto taken = text::take_lora_tags(found->get<std::string>());
      add_lora_tags(tags, taken.loras);
      *found = std::move(taken.prompt);
    }
  };
  take(scene);
  const auto regions = scene.is_object() ? scene.find("regions") : scene.end();
  if (scene.is_object() && regions != scene.end() && regions->is_array()) {
    for (auto& region : *regions) take(region);
  }
  return tags;
}

}  // namespace mos::region
