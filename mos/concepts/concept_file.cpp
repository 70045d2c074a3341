#include "mos/concepts/concept_file.h"

#include <fmt/core.h>

#include <algorithm>
#include <string_view>
#include <unordered_map>

#include "mos/base/error.h"
#include "mos/base/json.h"
#include "mos/base/log.h"
#include "mos/base/text.h"
#include "mos/checkpoint/family.h"
#include "mos/concepts/embedding_file.h"
#include "mos/concepts/lora_collector.h"
#include "mos/concepts/numbered_file.h"
#include "mos/io/finite.h"
#include "mos/io/mapped_tensor.h"

namespace mos::concepts {
namespace fs = std::filesystem;

using checkpoint::Part;

namespace {

constexpr std::string_view kParamsLevel = "params/";  ///< Around everything in the authors' files.

/// The order of a prompt: as recorded, else by name (`<thanos1>` before `<thanos2>`).
void sort_words(ConceptDelta& delta, const std::string& origin) {
  const auto recorded = delta.metadata.find(kWordOrder);
  // In a file without words the entry is somebody else's and may say anything.
  if (delta.words.empty() || recorded == delta.metadata.end()) return;
  const auto where = origin + ": metadata \"words\"";
  std::vector<std::string> order;
  if (!assign_json(parse_json(recorded->second, where), order)) {
    throw Error(ErrorKind::kFormat, fmt::format("{} is {}, expected a list of words", where,
                                                printable(recorded->second)));
  }
  std::unordered_map<std::string, std::size_t> places;
  for (std::size_t i = 0; i < order.size(); ++i) places.emplace(order[i], i);
  const auto position = [&](const ConceptWord& word) {
    const auto found = places.find(word.word);
    return found == places.end() ? order.size() : found->second;
  };
  std::stable_sort(delta.words.begin(), delta.words.end(),
                   [&](const auto& a, const auto& b) { return position(a) < position(b); });
}

/// Whether `key` is of a normalisation layer. Files extracted from a model (ComfyUI's LoraSave)
/// have what its scales changed by, `.diff` [C], and what its shifts did, `.diff_b`.
bool is_of_norm(const io::StateDict& tensors, const std::string& key) {
  constexpr std::string_view kScales = ".diff", kShifts = ".diff_b";
  auto scales = key;
  if (key.ends_with(kShifts)) scales.resize(key.size() - (kShifts.size() - kScales.size()));
  const auto found = tensors.find(scales);
  return scales.ends_with(kScales) && found != tensors.end() && found->second.dim() == 1;
}

std::optional<std::string_view> foreign_kind_of(const io::StateDict& tensors,
                                                const std::string& full_key,
                                                const std::string& key) {
  if (is_of_norm(tensors, full_key) && parse_lora_key(key)) return "trained normalisation layers";
  return foreign_kind(key);
}

EmbeddingCollector embeddings_of(const io::TensorFile& file) {
  const auto name = file.metadata.find(kEmbeddingName);
  return {file.path.stem().string(), name == file.metadata.end() ? "" : name->second};
}

/// PEFT keeps the scale beside its file, for the one network that the folder is of.
PeftConfigs scales_of(const io::TensorFile& file, const LoraCollector& lora) {
  auto configs = peft_configs(file.metadata, file.path.string());
  const auto beside = file.path.parent_path() / "adapter_config.json";
  const bool by_peft = lora.dialects().contains(LoraDialect::kPeft);
  if (!configs.empty() || !by_peft || !fs::exists(beside)) return configs;
  const auto config = read_json_file(beside);
  for (const auto network : checkpoint::kTunedParts) {
    configs.emplace(network, PeftConfig(config, beside.string()));
  }
  return configs;
}

/// A LoRA below `base_model.model.` was written by PEFT, which never assumes a scale of 1.
bool has_unknown_scale(const KeyReport& keys, const PeftConfigs& configs) {
  return configs.empty() &&
         std::any_of(keys.matched.begin(), keys.matched.end(), [](const auto& use) {
           return use.key.find("base_model.model.") != std::string::npos;
         });
}

void add_dialects(std::vector<std::string>& names, const LoraCollector& lora,
                  const EmbeddingCollector& words) {
  for (const auto& [dialect, count] : lora.dialects()) {
    names.push_back(fmt::format("{} LoRA", name_of(dialect)));
  }
  for (const auto& [dialect, count] : words.dialects()) {
    names.push_back(fmt::format("{} embedding", name_of(dialect)));
  }
}

/// What another file of the same concept brings: other layers and words.
void add(ConceptFile more, ConceptFile& file) {
  for (auto& word : more.delta.words) file.delta.words.push_back(std::move(word));
  for (auto& [network, updates] : more.delta.updates) file.delta.updates[network].merge(updates);
  for (auto& use : more.keys.matched) file.keys.matched.push_back(std::move(use));
  for (auto& key : more.keys.unexpected) file.keys.unexpected.push_back(std::move(key));
}

/// Everything in a concept is small and read several times, so it is looked at here, once.
void check_values(const ConceptFile& file) {
  for (const auto& word : file.delta.words) {
    for (const auto& [part, rows] : word.rows) io::check_finite(rows, file.origin, word.word);
  }
  const auto check = [&](const std::string& layer, std::string_view part,
                         const torch::Tensor& tensor) {
    io::check_finite(tensor, file.origin, fmt::format("{} ({})", layer, part));
  };
  for (const auto& [network, updates] : file.delta.updates) {
    for (const auto& [layer, update] : updates) {
      if (const auto* dense = update.dense()) {
        for (const auto& [part, tensor] : dense->parts) check(layer, name_of(part), tensor);
      } else {
        check(layer, "down", update.low_rank().down);
        check(layer, "up", update.low_rank().up);
      }
    }
  }
}

/// A model given as a concept has hundreds of keys that do not fit; what it is says it all.
void refuse_model(const io::TensorFile& file) {
  using checkpoint::Content;
  const auto identity = checkpoint::identify(file.tensors);
  if (!identity) return;
  const bool steers =
      identity->content == Content::kAdapter || identity->content == Content::kControlNet;
  const auto family = steers ? "" : fmt::format(" ({})", name_of(identity->family));
  throw Error(ErrorKind::kMismatch,
              fmt::format("{} is no concept but a {}{}, which is given with {}; concepts are LoRA "
                          "files and embeddings",
                          file.path.string(), name_of(identity->content), family,
                          steers ? "--adapter" : "--base"));
}

}  // namespace

ConceptFile sort_concept_keys(const io::TensorFile& file) {
  ConceptFile result{.origin = file.path.string()};
  const auto numbered = read_numbered_keys(file);
  result.delta.metadata = numbered.metadata;
  LoraCollector lora;
  auto words = embeddings_of(file);
  io::StateDict rest;
  for (const auto& [full_key, tensor] : file.tensors) {
    const auto key =
        full_key.starts_with(kParamsLevel) ? full_key.substr(kParamsLevel.size()) : full_key;
    if (const auto found = numbered.layers.find(key); found != numbered.layers.end()) {
      lora.take(found->second, key, tensor);
    } else if (numbered.words.contains(key)) {
      words.take_word(key, tensor);
    } else if (const auto kind = foreign_kind_of(file.tensors, full_key, key)) {
      result.keys.foreign[std::string(*kind)].push_back(key);
    } else if (!lora.take(key, tensor) && !words.take(key, tensor)) {
      rest[key] = tensor;
    }
  }
  const bool is_dictionary =
      lora.dialects().empty() && result.keys.foreign.empty() && words.take_dictionary(rest);
  if (!is_dictionary) {
    for (const auto& [key, tensor] : rest) {
      result.keys.unexpected.push_back({key, numbered.why_not(key)});
    }
  }
  const auto configs = scales_of(file, lora);
  lora.finish(configs, result.delta, result.keys);
  words.finish(result.delta, result.keys);
  sort_words(result.delta, result.origin);
  add_dialects(result.dialects, lora, words);
  if (has_unknown_scale(result.keys, configs)) {
    result.doubts.push_back(
        fmt::format("{} is a PEFT adapter without its adapter_config.json, which says the "
                    "scale; 1 is assumed",
                    result.origin));
  }
  return result;
}

bool is_concept_file(const ConceptFile& file) {
  return !file.dialects.empty() || !file.keys.foreign.empty();
}

ConceptFile read_concept_file(const fs::path& path, UnexpectedKeys unexpected) {
  const auto tensors = io::read_tensor_file(path);
  // Before numbers are taken from them: a factor of damaged bytes would be found strange, or not.
  for (const auto& [key, tensor] : tensors.tensors) io::check_stored(tensor);
  auto file = sort_concept_keys(tensors);
  if (file.keys.matched.empty()) refuse_model(tensors);
  check_keys(file.keys, file.origin, unexpected);
  for (const auto& doubt : file.doubts) log::warn(doubt);
  check_values(file);
  for (const auto& beside : companions_of(tensors)) {
    auto more = read_concept_file(beside, unexpected);
    log::info(fmt::format("{} belongs to {} and is read with it", beside.string(), file.origin));
    add(std::move(more), file);
    file.companions.push_back(beside);
  }
  return file;
}

ConceptDelta load_concept(const fs::path& path) { return read_concept_file(path).delta; }

}  // namespace mos::concepts
