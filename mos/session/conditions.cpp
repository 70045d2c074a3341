#include "conditions.h"

#include <fmt/core.h>

#include "mos/base/error.h"
#include "mos/base/sha256.h"
#include "mos/io/image.h"

namespace mos::app {

namespace fs = std::filesystem;

namespace {

using Split = std::vector<std::string> (*)(const std::string&);

/// A list with one entry for each adapter, or an empty one.
std::vector<std::string> take_list(Flags& flags, const std::string& name, std::size_t adapters,
                                   Split split = detail::split_list) {
  const auto entries = split(flags.take(name).value_or(""));
  if (entries.empty() || entries.size() == adapters) return entries;
  throw Error(ErrorKind::kUsage,
              fmt::format("--{} has {} entries for {} adapters; give one for each", name,
                          entries.size(), adapters));
}

void set_numbers(std::vector<region::Condition>& conditions, const std::string& name,
                 const std::vector<std::string>& entries, double region::Condition::*field) {
  for (std::size_t i = 0; i < entries.size(); ++i) {
    conditions[i].*field = detail::parse_number(name, entries[i]);
  }
}

/// The weights of a folder, or the file itself.
std::string adapter_hash(const fs::path& path) {
  if (!fs::is_directory(path)) return file_hash(path);
  std::string all;
  for (const auto* name :
       {"config.json", "diffusion_pytorch_model.safetensors",
        "diffusion_pytorch_model.fp16.safetensors", "diffusion_pytorch_model.bin"}) {
    if (fs::exists(path / name)) all += file_hash(path / name);
  }
  Sha256 sha;
  sha.update(all.data(), all.size());
  return sha.hex();
}

/// Notes a hash; one that is there already must be the same.
void take_hash(const std::string& what, const std::string& actual, std::string& noted) {
  check_hash(what, noted, actual);
  noted = actual;
}

}  // namespace

const char* const kConditionHelp =
    "Spatial conditions, with a comma between the entries of several (docs/conditions.md):\n"
    "  --adapter PATH,...       T2I-Adapters or ControlNets: diffusers folders or files\n"
    "  --condition PICTURE,...  the pictures that they read\n"
    "  --adapter-weight W,...   factor on their features [1]\n"
    "  --adapter-boxes TEXT     other factors inside boxes, [top, left, bottom, right]-W with |\n"
    "                           between them; for a single adapter\n"
    "  --adapter-start S,...    share of the steps before they begin [0]\n"
    "  --adapter-end S,...      share of the steps when they end [1]\n"
    "  --guess-mode             ControlNet steers without a prompt\n";

ConditionFlags take_conditions(Flags& flags) {
  ConditionFlags result;
  const auto adapters = detail::split_paths(flags.take("adapter").value_or(""));
  const auto pictures = take_list(flags, "condition", adapters.size(), detail::split_paths);
  if (pictures.size() != adapters.size()) {
    throw Error(ErrorKind::kUsage, "--adapter needs a picture for each adapter: --condition FILE");
  }
  auto& conditions = result.conditions;
  for (std::size_t i = 0; i < adapters.size(); ++i) {
    conditions.push_back({.adapter = adapters[i], .picture = pictures[i]});
  }
  for (const auto& [name, field] : {std::pair{"adapter-weight", &region::Condition::weight},
                                    std::pair{"adapter-start", &region::Condition::start},
                                    std::pair{"adapter-end", &region::Condition::end}}) {
    set_numbers(conditions, name, take_list(flags, name, adapters.size()), field);
  }
  if (const auto boxes = flags.take("adapter-boxes")) {
    if (adapters.size() != 1) {
      throw Error(ErrorKind::kUsage,
                  "--adapter-boxes is for a single adapter; use a scene file for several");
    }
    result.boxes.push_back(*boxes);
  }
  const bool guess_mode = flags.take_switch("guess-mode");
  for (auto& condition : conditions) {
    condition.guess_mode = guess_mode;
    region::check_condition(condition, "--adapter " + condition.adapter);
  }
  return result;
}

std::vector<region::Condition> place_conditions(const ConditionFlags& flags,
                                                region::Canvas canvas) {
  auto conditions = flags.conditions;
  for (std::size_t i = 0; i < flags.boxes.size(); ++i) {
    conditions[i].boxes = region::parse_box_weights(flags.boxes[i], canvas);
  }
  return conditions;
}

region::Scene moved_conditions(Flags& flags, region::Scene scene) {
  for (const auto& [name, field] : {std::pair{"adapter", &region::Condition::adapter},
                                    std::pair{"condition", &region::Condition::picture}}) {
    const auto moved = take_list(flags, name, scene.conditions.size(), detail::split_paths);
    for (std::size_t i = 0; i < moved.size(); ++i) scene.conditions[i].*field = moved[i];
  }
  return scene;
}

void read_conditions(Outputs& outputs, const region::Scene& scene) {
  for (const auto& condition : scene.conditions) {
    outputs.read("--adapter", condition.adapter);
    outputs.read("--condition", condition.picture);
  }
}

std::vector<region::LoadedCondition> load_conditions(const Studio& studio, region::Scene& scene) {
  std::vector<region::LoadedCondition> loaded;
  for (auto& condition : scene.conditions) {
    auto one = region::load_condition(condition, studio.model, scene.canvas.value());
    take_hash("the adapter " + condition.adapter, adapter_hash(condition.adapter),
              condition.adapter_sha256);
    take_hash("the condition picture " + condition.picture, file_hash(condition.picture),
              condition.picture_sha256);
    loaded.push_back(std::move(one));
  }
  return loaded;
}

}  // namespace mos::app
