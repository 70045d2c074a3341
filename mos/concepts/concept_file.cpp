#include "mos/concepts/concept_file.h"

#include <fmt/core.h>

#include <algorithm>
#include <string_view>

#include "mos/base/error.h"
#include "mos/base/json.h"
#include "mos/base/log.h"
#include "mos/base/text.h"
#include "mos/checkpoint/family.h"
#include "mos/concepts/embedding_file.h"
#include "mos/concepts/lora_file.h"
#include "mos/io/finite.h"

namespace mos::concepts {
namespace fs = std::filesystem;

namespace {

constexpr std::string_view kParamsLevel = "params/";  ///< Around everything in the authors' files.

/// The order of a prompt: as recorded, else by name (`<thanos1>` before `<thanos2>`).
void sort_words(ConceptDelta& delta, const std::string& origin) {
  const auto recorded = delta.metadata.find(kWordOrder);
  if (recorded == delta.metadata.end()) return;
  const auto where = origin + ": metadata \"words\"";
  std::vector<std::string> order;
  if (!assign_json(parse_json(recorded->second, where), order)) {
    throw Error(ErrorKind::kFormat, fmt::format("{} is {}, expected a list of words", where,
                                                printable(recorded->second)));
  }
  const auto position = [&](const ConceptWord& word) {
    return std::find(order.begin(), order.end(), word.word) - order.begin();
  };
  std::stable_sort(delta.words.begin(), delta.words.end(),
                   [&](const auto& a, const auto& b) { return position(a) < position(b); });
}

std::string word_of_file(const io::TensorFile& file) {
  const auto name = file.metadata.find(kEmbeddingName);
  return name != file.metadata.end() ? name->second : file.path.stem().string();
}

/// PEFT keeps the scale beside its file, for the one network that the folder is of.
PeftConfigs scales_of(const io::TensorFile& file, const LoraCollector& lora) {
  auto configs = peft_configs(file.metadata, file.path.string());
  const auto beside = file.path.parent_path() / "adapter_config.json";
  const bool by_peft = lora.dialects().contains(LoraDialect::kPeft);
  if (!configs.empty() || !by_peft || !fs::exists(beside)) return configs;
  const auto config = read_json_file(beside);
  return {{Network::kTextEncoder, config}, {Network::kUNet, config}};
}

/// A LoRA below `base_model.model.` was written by PEFT, which never assumes a scale of 1.
void warn_of_unknown_scale(const ConceptFile& file, const PeftConfigs& configs) {
  const bool is_adapter = std::any_of(
      file.keys.matched.begin(), file.keys.matched.end(),
      [](const auto& use) { return use.key.find("base_model.model.") != std::string::npos; });
  if (!is_adapter || !configs.empty()) return;
  log::warn(
      fmt::format("{} is a PEFT adapter without its adapter_config.json, which says the "
                  "scale; 1 is assumed",
                  file.origin));
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

/// Everything in a concept is small and read several times, so it is looked at here, once.
void check_values(const ConceptFile& file) {
  for (const auto& word : file.delta.words) {
    io::check_finite(word.rows, file.origin, word.word);
  }
  for (const auto* updates : {&file.delta.text_encoder, &file.delta.unet}) {
    for (auto [layer, update] : *updates) {
      update.for_each_tensor([&, &name = layer](const torch::Tensor& part) {
        io::check_finite(part, file.origin, name);
      });
    }
  }
}

/// Networks have hundreds of keys, of which none means anything in a concept: what they are says
/// more.
void refuse_model(const io::TensorFile& file) {
  const auto identity = checkpoint::identify(file.tensors);
  if (!identity) return;
  throw Error(ErrorKind::kMismatch,
              fmt::format("{} is no concept but a {} ({}); expected words, a LoRA or an embedding",
                          file.path.string(), name_of(identity->part), name_of(identity->family)));
}

}  // namespace

ConceptFile sort_concept_keys(const io::TensorFile& file) {
  ConceptFile result{.origin = file.path.string()};
  result.delta.metadata = file.metadata;
  LoraCollector lora;
  EmbeddingCollector words(word_of_file(file));
  io::StateDict rest;
  for (const auto& [full_key, tensor] : file.tensors) {
    const auto key =
        full_key.starts_with(kParamsLevel) ? full_key.substr(kParamsLevel.size()) : full_key;
    if (const auto kind = foreign_kind(key)) {
      result.keys.foreign[std::string(*kind)].push_back(key);
    } else if (!lora.take(key, tensor) && !words.take(key, tensor)) {
      rest[key] = tensor;
    }
  }
  const bool is_dictionary =
      lora.dialects().empty() && result.keys.foreign.empty() && words.take_dictionary(rest);
  if (!is_dictionary) {
    for (const auto& [key, tensor] : rest) result.keys.unexpected.push_back(key);
  }
  const auto configs = scales_of(file, lora);
  lora.finish(configs, result.delta, result.keys);
  words.finish(result.delta, result.keys);
  sort_words(result.delta, result.origin);
  add_dialects(result.dialects, lora, words);
  warn_of_unknown_scale(result, configs);
  return result;
}

bool is_concept_file(const ConceptFile& file) {
  return !file.dialects.empty() || !file.keys.foreign.empty();
}

ConceptFile read_concept_file(const fs::path& path, UnexpectedKeys unexpected) {
  const auto tensors = io::read_tensor_file(path);
  auto file = sort_concept_keys(tensors);
  if (!is_concept_file(file)) refuse_model(tensors);
  check_keys(file.keys, file.origin, unexpected);
  check_values(file);
  return file;
}

ConceptDelta load_concept(const fs::path& path) { return read_concept_file(path).delta; }

}  // namespace mos::concepts
