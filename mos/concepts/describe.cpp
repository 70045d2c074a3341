#include "mos/concepts/describe.h"

#include <fmt/core.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <string_view>

#include "mos/checkpoint/family.h"
#include "mos/concepts/concept_file.h"
#include "mos/concepts/lora.h"
#include "mos/concepts/numbered_file.h"
#include "mos/concepts/training_metadata.h"

namespace mos::concepts {

using checkpoint::Part;

namespace {

/// Width of the text that the concept's words or layers are made for; 0: nothing tells.
std::int64_t text_width(const ConceptDelta& delta) {
  if (!delta.words.empty()) return delta.words.front().rows.first().size(1);
  for (const auto& [layer, update] : delta.of(Part::kUNet)) {
    const bool reads_text = layer.ends_with(".attn2.to_k") || layer.ends_with(".attn2.to_v");
    if (reads_text && update.features()) return update.features()->in;
  }
  for (const auto& [layer, update] : delta.of(Part::kTextEncoder)) {
    if (layer.ends_with(".q_proj") && update.features()) return update.features()->in;
  }
  return 0;
}

/// The distinct values among all updates that have factors, smallest first.
template <class ValueOf>
Json distinct(const ConceptDelta& delta, const ValueOf& value_of) {
  std::set<double> values;
  for (const auto& [network, updates] : delta.updates) {
    for (const auto& [layer, update] : updates) {
      if (update.rank() > 0) values.insert(value_of(update));
    }
  }
  Json list = Json::array();
  for (const double value : values) list.push_back(value);
  return list;
}

/// `….transformer_blocks.0.attn2.to_k` -> `attn2.to_k`: what is left without the numbered lists.
std::string kind_of(std::string_view layer) {
  for (const std::string_view list :
       {"attentions.", "transformer_blocks.", "resnets.", "encoder.layers."}) {
    const auto found = layer.find(list);
    if (found == layer.npos) continue;
    layer.remove_prefix(found + list.size());
    layer.remove_prefix(layer.find('.') + 1);
  }
  for (const std::string_view list : {"downsamplers.", "upsamplers."}) {
    if (const auto found = layer.find(list); found != layer.npos) layer.remove_prefix(found);
  }
  return std::string(layer);
}

/// How many layers of each kind: "attn2.to_k" 16, "conv1" 22.
Json layer_kinds(const LayerUpdates& updates) {
  std::map<std::string, std::int64_t> counts;
  for (const auto& [layer, update] : updates) ++counts[kind_of(layer)];
  return counts;
}

constexpr const char* kLoCon = "LoCon (LoRA with 3x3 convolutions)";

/// Whether a pair has a kernel larger than 1×1.
bool reads_patches(const LowRank& pair) { return pair.down.dim() == 4 && pair.down.size(2) > 1; }

/// What one update is a part of.
std::string network_of(const LayerUpdate& update) {
  const auto* dense = update.dense();
  if (dense == nullptr) return reads_patches(update.low_rank()) ? kLoCon : "LoRA";
  const std::string form(dense->has(LoraPart::kMid) ? kLoCon : name_of(dense->form));
  return dense->has(LoraPart::kMagnitude) ? "DoRA on " + form : form;
}

/// All that is in the file: "LoRA", "LoHa (LyCORIS), full differences (LyCORIS)".
std::string network_type(const ConceptFile& file) {
  std::set<std::string> kinds;
  for (const auto& [network, updates] : file.delta.updates) {
    for (const auto& [layer, update] : updates) kinds.insert(network_of(update));
  }
  if (kinds.empty()) return file.delta.words.empty() ? "none that is whole" : "embedding";
  if (kinds.contains(kLoCon)) kinds.erase("LoRA");  // whose other layers are pairs like a LoRA's
  return fmt::format("{}", fmt::join(kinds, ", "));
}

Json words_json(const ConceptDelta& delta) {
  Json words = Json::object();
  for (const auto& word : delta.words) {
    words[word.word] = fmt::format(
        "{} token{} of width {}{}", word.vectors, word.vectors == 1 ? "" : "s",
        word.rows.first().size(1),
        word.layers() == 1 ? std::string() : fmt::format(", rows for {} layers", word.layers()));
    if (word.alias.empty()) continue;
    words[word.word].get_ref<std::string&>() +=
        fmt::format("; its author called it {}", word.alias);
  }
  return words;
}

void add_lora(Json& report, const ConceptDelta& delta) {
  if (delta.layer_count() == 0) return;
  report["ranks"] =
      distinct(delta, [](const LayerUpdate& u) { return static_cast<double>(u.rank()); });
  report["alphas"] = distinct(delta, [](const LayerUpdate& u) { return u.alpha(); });
  for (const auto network : checkpoint::kTunedParts) {
    report[fmt::format("{}_layers", folder_of(network))] = layer_kinds(delta.of(network));
  }
}

/// The models that have a place for all of it.
Json target_of(const ConceptDelta& delta) {
  Json target = Json::object();
  if (const auto width = text_width(delta); width > 0) {
    target["family"] = checkpoint::family_of_text_width(width);
    target["cross-attention width"] = width;
  } else {
    target["family"] = "Stable Diffusion 1.x or 2.x: no layer in it reads text";
  }
  for (const auto& [network, updates] : delta.updates) {
    if (!updates.empty()) target[fmt::format("{} layers", name_of(network))] = updates.size();
  }
  std::int64_t tokens = 0;
  for (const auto& word : delta.words) tokens += word.rows.count();
  if (tokens > 0) target["rows of the token embedding"] = tokens;
  return target;
}

}  // namespace

std::optional<Json> describe_concept(const io::TensorFile& file) {
  const auto sorted = sort_concept_keys(file);
  if (!is_concept_file(sorted)) return std::nullopt;
  Json report = {{"kind", "concept"}, {"dialects", sorted.dialects}};
  const auto& foreign = sorted.keys.foreign;
  report["network"] = foreign.empty() ? std::string(network_type(sorted))
                                      : foreign.begin()->first + ", which is not applied here";
  if (foreign.empty()) report["loads onto"] = target_of(sorted.delta);
  add_lora(report, sorted.delta);
  if (!sorted.delta.words.empty()) report["words"] = words_json(sorted.delta);
  report["keys"] = sorted.keys.summary();
  for (const auto& beside : companions_of(file)) {
    report["read with it"].push_back(beside.filename().string());
  }
  for (const auto* list : {&sorted.keys.missing, &sorted.keys.wrong}) {
    for (const auto& key : *list) report["problems"].push_back(key);
  }
  for (const auto& [key, why] : sorted.keys.unexpected) {
    report["problems"].push_back(fmt::format("{} ({})", key, why));
  }
  for (const auto& doubt : sorted.doubts) report["problems"].push_back(doubt);
  const auto training = training_summary(file.metadata);
  if (!training.empty()) report["training"] = training;
  return report;
}

namespace {

/// For a U-Net that reads `texts` texts of a layer-wise prompt; empty where the rows fit.
std::string misfit_of_rows(const ConceptWord& word, const diffusion::TextTower& tower,
                           std::int64_t texts) {
  const auto rows = word.rows.of(tower.part);
  if (!rows.defined()) return fmt::format("no rows for the {}", name_of(tower.part));
  if (rows.size(1) != tower.width()) {
    return fmt::format("rows of width {}, the text encoder's have {}", rows.size(1), tower.width());
  }
  if (word.layers() != 1 && word.layers() != texts) {
    return fmt::format("rows for {} layers, the U-Net has {} cross-attentions", word.layers(),
                       texts);
  }
  return "";
}

}  // namespace

std::optional<KeyReport> compare_with_base(const io::TensorFile& file, diffusion::Model& base) {
  auto sorted = sort_concept_keys(file);
  if (!is_concept_file(sorted)) return std::nullopt;
  auto& keys = sorted.keys;
  for (auto& [part, updates] : sorted.delta.updates) {
    leave_out_absent_layers(*base.network(part), part, updates, keys);
    leave_out_other_shapes(*base.network(part), part, updates, keys);
  }
  const auto texts = base.unet->text_slices().count;
  std::map<std::string, std::string> misfits;
  for (const auto& word : sorted.delta.words) {
    for (const auto& tower : base.towers) {
      auto reason = misfit_of_rows(word, tower, texts);
      if (!reason.empty()) misfits.emplace(word.word, std::move(reason));
    }
  }
  keys.misfit(misfits);
  return keys;
}

}  // namespace mos::concepts
