#include "mos/concepts/concept_writer.h"

#include <fmt/core.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <map>
#include <optional>

#include "mos/base/error.h"
#include "mos/base/json.h"
#include "mos/base/require.h"
#include "mos/base/text_distance.h"
#include "mos/concepts/concept_file.h"
#include "mos/concepts/embedding_file.h"
#include "mos/concepts/lora_file.h"
#include "mos/concepts/peft_config.h"
#include "mos/concepts/weight_forms.h"
#include "mos/io/finite.h"
#include "mos/io/safetensors.h"
#include "mos/io/torch_writer.h"

namespace mos::concepts {
namespace fs = std::filesystem;

namespace {

/// What a format has room for: no LoRA dialect, no LoRA; no embedding dialect, no words.
struct FormatRule {
  ConceptFormat format;
  const char* name;
  std::optional<LoraDialect> lora;
  HeldForms forms;
  std::optional<EmbeddingDialect> words;
};
constexpr auto kFormats = std::to_array<FormatRule>({
    {ConceptFormat::kMos, "mos", LoraDialect::kOfficial, HeldForms::kAll,
     EmbeddingDialect::kOfficial},
    {ConceptFormat::kOfficial, "official", LoraDialect::kOfficial, HeldForms::kPairs,
     EmbeddingDialect::kOfficial},
    {ConceptFormat::kKohya, "kohya", LoraDialect::kKohya, HeldForms::kLycoris,
     EmbeddingDialect::kBundle},
    {ConceptFormat::kPeft, "peft", LoraDialect::kPeft, HeldForms::kPairsAndDora, std::nullopt},
    {ConceptFormat::kDiffusers, "diffusers", LoraDialect::kDiffusers, HeldForms::kPairs,
     std::nullopt},
    {ConceptFormat::kA1111, "a1111", std::nullopt, HeldForms::kNone, EmbeddingDialect::kA1111},
    {ConceptFormat::kTextualInversion, "textual-inversion", std::nullopt, HeldForms::kNone,
     EmbeddingDialect::kDiffusers},
    {ConceptFormat::kXti, "xti", std::nullopt, HeldForms::kNone, EmbeddingDialect::kXti},
});

using Metadata = std::map<std::string, std::string>;

const FormatRule& rule_of(ConceptFormat format) {
  return *std::find_if(kFormats.begin(), kFormats.end(),
                       [format](const FormatRule& rule) { return rule.format == format; });
}

bool is_torch_file(const fs::path& path) {
  constexpr auto kEndings = std::to_array<const char*>({".pth", ".pt", ".bin", ".ckpt"});
  return std::find(kEndings.begin(), kEndings.end(), path.extension()) != kEndings.end();
}

/// PEFT's and diffusers' keys have no alpha beside the factors; without the metadata a reader would
/// take 1.
bool needs_metadata(const FormatRule& rule, const ConceptDelta& delta) {
  const bool scale_outside =
      rule.lora == LoraDialect::kPeft || rule.lora == LoraDialect::kDiffusers;
  return scale_outside && !peft_metadata(delta).empty();
}

void check_ending(const FormatRule& rule, const fs::path& path) {
  const bool torch = is_torch_file(path);
  require(torch || path.extension() == ".safetensors",
          fmt::format("{} must end in .safetensors, .pt, .pth or .bin", path.string()));
  require(rule.format != ConceptFormat::kOfficial || torch,
          fmt::format("the authors' files end in .pth, not as {}; their names in safetensors are "
                      "the format mos",
                      path.string()));
  require(
      rule.format != ConceptFormat::kMos || !torch,
      fmt::format("the format mos is safetensors, not as {}; official is for .pth", path.string()));
}

[[noreturn]] void refuse_form(const FormatRule& rule, const std::string& layer,
                              const LayerUpdate& update) {
  throw Error(ErrorKind::kMismatch,
              fmt::format("{} files have no place for the update of {}, which is {} ({}); {}",
                          rule.name, layer, name_of(update.dense()->form), update.shapes(),
                          is_of_weight(update.dense()->form) ? "the format mos has"
                                                             : "the formats mos and kohya have"));
}

/// What is new in the metadata, and nothing that another format left there.
Metadata metadata_for(const FormatRule& rule, const ConceptDelta& delta) {
  auto metadata = delta.metadata;
  // A concept that was read from another format still carries what that one kept here.
  metadata.erase(kAdapterMetadata);
  metadata.erase(kWordOrder);
  metadata.erase(kEmbeddingName);
  if (needs_metadata(rule, delta)) metadata[kAdapterMetadata] = peft_metadata(delta);
  if (rule.format == ConceptFormat::kMos || !delta.words.empty()) {
    Json order = Json::array();
    // Tensors are written in the order of their names; words stand in prompts in their own.
    for (const auto& word : delta.words) order.push_back(word.word);
    metadata[kWordOrder] = order.dump();
  }
  // Their tensors are called alike in every file.
  const bool nameless =
      rule.words == EmbeddingDialect::kA1111 || rule.words == EmbeddingDialect::kXti;
  if (nameless) metadata[kEmbeddingName] = delta.words.front().word;
  return metadata;
}

/// Files of torch.save have a dictionary for each level of a name, and the authors' loader looks
/// for words in one of them.
void check_levels(const FormatRule& rule, const ConceptWord& word) {
  require(rule.format != ConceptFormat::kOfficial || word.word.find('/') == std::string::npos,
          fmt::format("the word {} has a slash in it, which ends a level of names in the authors' "
                      "files; rename it",
                      word.word));
}

/// No reader of ours would take it.
void check_written(const fs::path& path, const std::string& key, const torch::Tensor& tensor) {
  if (io::is_finite(tensor)) return;
  throw Error(ErrorKind::kMismatch,
              fmt::format("cannot write {}: the tensor {} came out as NaN or infinity; the factors "
                          "on it, or the numbers of its file, are too large",
                          path.string(), key));
}

/// AUTOMATIC1111/stable-diffusion-webui, textual_inversion.py: Embedding.save.
io::TorchValue a1111_value(const ConceptWord& word) {
  using Dict = io::TorchValue::Dict;
  constexpr std::int64_t kAsterisk = 265;  // the token of "*"
  return {Dict{{"name", {word.word}},
               {"step", {std::int64_t{0}}},
               {"string_to_param", {Dict{{"*", {word.rows.first().contiguous()}}}}},
               {"string_to_token", {Dict{{"*", {kAsterisk}}}}}}};
}

io::TorchValue torch_value(const FormatRule& rule, const ConceptDelta& delta,
                           const io::StateDict& dict) {
  if (rule.format == ConceptFormat::kA1111) return a1111_value(delta.words.front());
  if (rule.format == ConceptFormat::kOfficial) {
    return {io::TorchValue::Dict{{"params", io::nest_tensors(dict)}}};
  }
  io::TorchValue::Dict flat;
  for (const auto& [key, tensor] : dict) flat.emplace_back(key, io::TorchValue{tensor});
  if (rule.format == ConceptFormat::kXti) {
    // torch.save has no metadata, so the name stands among the tensors.
    flat.emplace_back(kEmbeddingName, io::TorchValue{delta.words.front().word});
  }
  return {std::move(flat)};
}

}  // namespace

std::vector<std::string> concept_format_names() {
  std::vector<std::string> names;
  for (const auto& rule : kFormats) names.emplace_back(rule.name);
  return names;
}

ConceptFormat concept_format(const std::string& name) {
  for (const auto& rule : kFormats) {
    if (name == rule.name) return rule.format;
  }
  const auto names = concept_format_names();
  throw Error(ErrorKind::kUsage, fmt::format("\"{}\" is no format of concepts, expected {}{}", name,
                                             fmt::join(names, ", "), did_you_mean(name, names)));
}

HeldForms forms_held_by(ConceptFormat format) { return rule_of(format).forms; }

ConceptFormat format_of_ending(const fs::path& path) {
  if (path.extension() == ".safetensors") return ConceptFormat::kMos;
  if (path.extension() == ".pth") return ConceptFormat::kOfficial;
  throw Error(ErrorKind::kUsage,
              fmt::format("the name {} does not tell the format of a concept; name one of {}",
                          path.string(), fmt::join(concept_format_names(), ", ")));
}

void check_room(ConceptFormat format, const ConceptDelta& delta, const fs::path& path) {
  const auto& rule = rule_of(format);
  check_ending(rule, path);
  require(rule.lora || !delta.words.empty(),
          fmt::format("{} files hold a word and no LoRA, and there is no word to write; a LoRA is "
                      "for mos, official, kohya, peft or diffusers",
                      rule.name));
  require(rule.lora || delta.layer_count() == 0,
          fmt::format("{} files hold a word and no LoRA; leave the LoRA out with --only words",
                      rule.name));
  if (!rule.words && !delta.words.empty()) {
    throw Error(ErrorKind::kMismatch,
                fmt::format("{} files hold a LoRA and no words; write the format mos, whose halves "
                            "mos convert writes apart with --only lora and --only words",
                            rule.name));
  }
  require(rule.lora || delta.words.size() == 1,
          fmt::format("{} files hold one word, this concept has {}; choose one with --word",
                      rule.name, delta.words.size()));
  for (const auto& word : delta.words) {
    check_levels(rule, word);
    // Throws for what the dialect cannot say of a word (its layers, a dot in its name).
    word_tensors(word, *rule.words);
  }
}

void check_holds(ConceptFormat format, const ConceptDelta& delta, const fs::path& path) {
  const auto& rule = rule_of(format);
  check_room(format, delta, path);
  for (const auto& [network, updates] : delta.updates) {
    for (const auto& [layer, update] : updates) {
      if (!holds(rule.forms, update)) refuse_form(rule, layer, update);
    }
  }
  require(!is_torch_file(path) || !needs_metadata(rule, delta),
          fmt::format("{} names keep the scale in metadata, which only .safetensors has, not {}",
                      rule.name, path.string()));
}

void write_concept(const fs::path& path, const ConceptDelta& given, ConceptFormat format,
                   const FileRules& rules) {
  check_holds(format, given, path);
  const auto& rule = rule_of(format);
  // The authors' loader multiplies up and down and knows no factor of ours.
  const auto delta = format == ConceptFormat::kOfficial ? with_folded_scales(given) : given;
  io::StateDict dict;
  if (rule.lora) dict = lora_tensors(delta, *rule.lora);
  for (const auto& word : delta.words) dict.merge(word_tensors(word, *rule.words));
  for (const auto& [key, tensor] : dict) check_written(path, key, tensor);
  if (is_torch_file(path)) {
    io::save_torch_file(path, torch_value(rule, delta, dict), rules);
  } else {
    io::save_safetensors(path, dict, metadata_for(rule, delta), rules);
  }
}

void save_concept(const fs::path& path, const ConceptDelta& delta, const FileRules& rules) {
  write_concept(path, delta, ConceptFormat::kMos, rules);
}

}  // namespace mos::concepts
