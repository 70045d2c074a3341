#include <fmt/core.h>

#include <vector>

#include "mos/base/error.h"
#include "mos/checkpoint/parts.h"

namespace mos::checkpoint {
namespace {

constexpr const char* kDiffusersVersion = "0.19.3";  // the layout that we write

/// A setting and the file that holds it.
struct SettingsFile {
  std::string name;
  Json Checkpoint::*value;
};

const std::vector<SettingsFile>& settings_files() {
  static const std::vector<SettingsFile> files = {{kIndexFile, &Checkpoint::model_index},
                                                  {kSchedulerFile, &Checkpoint::scheduler_config},
                                                  {kConceptsFile, &Checkpoint::concepts}};
  return files;
}

/// The text of a setting that nobody has changed stays as its author formatted it.
void put(std::map<std::string, std::string>& texts, const Checkpoint& checkpoint,
         const std::string& name, const Json& value) {
  if (value.is_null()) return;
  const auto source = checkpoint.source_texts.find(name);
  const bool unchanged =
      source != checkpoint.source_texts.end() && parse_config(source->second, name) == value;
  texts[name] = unchanged ? source->second : json_text(value, 2) + "\n";
}

Json take(Checkpoint& checkpoint, const std::map<std::string, std::string>& texts,
          const std::string& name) {
  const auto found = texts.find(name);
  if (found == texts.end()) {
    throw Error(
        ErrorKind::kIo,
        fmt::format("cannot load the model {}: {} is missing; expected a diffusers directory with "
                    "model_index.json, scheduler, text_encoder, tokenizer, unet and vae",
                    checkpoint.origin.string(), name));
  }
  const auto path = (checkpoint.origin / name).string();
  auto value = parse_config(found->second, path);
  if (!value.is_object()) {
    throw Error(ErrorKind::kFormat, fmt::format("{} must hold a JSON object", path));
  }
  checkpoint.source_texts[name] = found->second;
  return value;
}

/// Parts that only other families have: Stable Diffusion XL, 3, Flux.
void refuse_other_families(const Checkpoint& checkpoint) {
  for (const auto* part : {"transformer", "text_encoder_2"}) {
    const auto entry = checkpoint.model_index.find(part);
    const bool there = entry != checkpoint.model_index.end() && entry->is_array() &&
                       !entry->empty() && entry->front().is_string();
    if (!there) continue;
    throw Error(
        ErrorKind::kMismatch,
        fmt::format("cannot use {} as a base model: it is a {} with a {}; expected a plain "
                    "model of Stable Diffusion 1.x or 2.x",
                    checkpoint.origin.string(),
                    json_value<std::string>(checkpoint.model_index, "_class_name", "model"), part));
  }
}

/// The networks must be of the classes that we build.
void check_index(const Checkpoint& checkpoint) {
  refuse_other_families(checkpoint);
  for (const auto& part : kNetworks) {
    const auto entry = checkpoint.model_index.find(part.folder);
    if (entry == checkpoint.model_index.end()) continue;
    const Json expected = {part.library, part.class_name};
    // The class decides what a config means: a U-Net of another class may have the same keys.
    if (*entry == expected) continue;
    throw Error(ErrorKind::kFormat,
                fmt::format("{}: {} is {}, expected {}", (checkpoint.origin / kIndexFile).string(),
                            part.folder, quoted(*entry), quoted(expected)));
  }
}

}  // namespace

std::map<std::string, std::string> settings_texts(const Checkpoint& checkpoint) {
  std::map<std::string, std::string> texts;
  for (const auto& file : settings_files()) {
    put(texts, checkpoint, file.name, checkpoint.*file.value);
  }
  for (const auto& part : kNetworks) {
    put(texts, checkpoint, part.config_file(), checkpoint.networks.at(part.part).config);
  }
  for (const auto* name : kKeptFiles) {
    const auto kept = checkpoint.source_texts.find(name);
    if (kept != checkpoint.source_texts.end()) texts.insert(*kept);
  }
  return texts;
}

void take_settings(Checkpoint& checkpoint, const std::map<std::string, std::string>& texts) {
  for (const auto& file : settings_files()) {
    // Only a fused model has words.
    if (file.name == kConceptsFile && !texts.contains(file.name)) continue;
    checkpoint.*file.value = take(checkpoint, texts, file.name);
    // Before the rest: a folder of another family lacks files that ours have, and its own name says
    // more than a missing one.
    if (file.name == kIndexFile) check_index(checkpoint);
  }
  for (const auto& part : kNetworks) {
    checkpoint.networks[part.part].config = take(checkpoint, texts, part.config_file());
  }
  for (const auto* name : kKeptFiles) {
    if (texts.contains(name)) take(checkpoint, texts, name);
  }
}

Json model_index_of(const Json& scheduler_config) {
  Json index = {{"_class_name", "StableDiffusionPipeline"},
                {"_diffusers_version", kDiffusersVersion},
                {"feature_extractor", {nullptr, nullptr}},
                {"requires_safety_checker", false},
                {"safety_checker", {nullptr, nullptr}}};
  index["scheduler"] = {"diffusers", json_required<std::string>(scheduler_config, "_class_name")};
  for (const auto& part : kNetworks) index[part.folder] = {part.library, part.class_name};
  index["tokenizer"] = {"transformers", "CLIPTokenizer"};
  return index;
}

std::string prediction_type_of(const Json& scheduler_config) {
  return json_value<std::string>(scheduler_config, "prediction_type", kDefaultPrediction);
}

/// Python writes infinity, which JSON has not: diffusers' configs of DPM-Solver say -Infinity for a
/// bound that is none. Inside of strings it is text.
Json parse_config(std::string_view text, const std::string& origin) {
  constexpr std::string_view kMinusInfinity = "-Infinity";
  std::string json;
  bool in_string = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (!in_string && text.substr(i).starts_with(kMinusInfinity)) {
      json += "null";
      i += kMinusInfinity.size() - 1;
      continue;
    }
    json += text[i];
    if (text[i] == '"') in_string = !in_string;
    // An escaped quotation mark ends no string.
    if (in_string && text[i] == '\\' && i + 1 < text.size()) json += text[++i];
  }
  return parse_json(json, origin);
}

}  // namespace mos::checkpoint
