#include "mos/concepts/lora_names.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>

#include "mos/base/error.h"
#include "mos/base/text.h"

namespace mos::concepts {

namespace {

/// How a layer's name stands in a key.
enum class Spelling { kDotted, kFlat };

/// What a key begins with. Longer ones first.
struct PrefixRule {
  std::string_view text;
  std::optional<Network> network;  ///< Nothing: told by the layer's name.
  Spelling spelling;
};
constexpr auto kPrefixes = std::to_array<PrefixRule>({
    {"text_encoder.base_model.model.", Network::kTextEncoder, Spelling::kDotted},
    {"unet.base_model.model.", Network::kUNet, Spelling::kDotted},
    {"base_model.model.", std::nullopt, Spelling::kDotted},
    {"text_encoder/", Network::kTextEncoder, Spelling::kDotted},
    {"text_encoder.", Network::kTextEncoder, Spelling::kDotted},
    {"unet/", Network::kUNet, Spelling::kDotted},
    {"unet.", Network::kUNet, Spelling::kDotted},
    {"lora_te_", Network::kTextEncoder, Spelling::kFlat},
    {"lora_unet_", Network::kUNet, Spelling::kFlat},
});

/// What a key ends with. A dialect of nothing is told by the prefix.
struct SuffixRule {
  std::string_view text;
  LoraPart part;
  std::optional<LoraDialect> dialect;
};
constexpr auto kSuffixes = std::to_array<SuffixRule>({
    {".lora_down.weight", LoraPart::kDown, std::nullopt},
    {".lora_up.weight", LoraPart::kUp, std::nullopt},
    {".lora_mid.weight", LoraPart::kMid, std::nullopt},
    {".alpha", LoraPart::kAlpha, std::nullopt},
    {".lora_A.weight", LoraPart::kDown, LoraDialect::kPeft},
    {".lora_B.weight", LoraPart::kUp, LoraDialect::kPeft},
    {".lora_A.default.weight", LoraPart::kDown, LoraDialect::kPeft},
    {".lora_B.default.weight", LoraPart::kUp, LoraDialect::kPeft},
    {".lora.down.weight", LoraPart::kDown, LoraDialect::kDiffusers},
    {".lora.up.weight", LoraPart::kUp, LoraDialect::kDiffusers},
    {".lora_linear_layer.down.weight", LoraPart::kDown, LoraDialect::kDiffusers},
    {".lora_linear_layer.up.weight", LoraPart::kUp, LoraDialect::kDiffusers},
    {"_lora.down.weight", LoraPart::kDown, LoraDialect::kDiffusersOld},
    {"_lora.up.weight", LoraPart::kUp, LoraDialect::kDiffusersOld},
});

/// diffusers before 0.22 kept LoRA in attention processors, which called the projections of both
/// networks the same.
struct OldProjection {
  std::string_view old;
  std::string_view unet;
  std::string_view text_encoder;
};
constexpr auto kOldProjections = std::to_array<OldProjection>({
    {".to_q", ".to_q", ".q_proj"},
    {".to_k", ".to_k", ".k_proj"},
    {".to_v", ".to_v", ".v_proj"},
    {".to_out", ".to_out.0", ".out_proj"},
});

/// Every component of a layer's name that has an underscore of its own.
constexpr auto kComponents = std::to_array<std::string_view>({
    "down_blocks",
    "up_blocks",
    "mid_block",
    "transformer_blocks",
    "time_embedding",
    "class_embedding",
    "time_emb_proj",
    "conv_in",
    "conv_out",
    "conv_norm_out",
    "conv_shortcut",
    "linear_1",
    "linear_2",
    "proj_in",
    "proj_out",
    "to_q",
    "to_k",
    "to_v",
    "to_out",
    "text_model",
    "self_attn",
    "q_proj",
    "k_proj",
    "v_proj",
    "out_proj",
    "token_embedding",
    "position_embedding",
    "final_layer_norm",
    "text_projection",
});

/// Beginnings of layer names, for keys that do not say the network.
constexpr auto kFirstComponents = std::to_array<std::pair<std::string_view, Network>>({
    {"down_blocks.", Network::kUNet},
    {"mid_block.", Network::kUNet},
    {"up_blocks.", Network::kUNet},
    {"conv_in", Network::kUNet},
    {"conv_out", Network::kUNet},
    {"time_embedding.", Network::kUNet},
    {"text_model.", Network::kTextEncoder},
    {"text_projection", Network::kTextEncoder},
});

std::optional<Network> network_of_layer(std::string_view layer) {
  for (const auto& [beginning, network] : kFirstComponents) {
    if (layer.starts_with(beginning)) return network;
  }
  return std::nullopt;
}

/// `….attn1.processor.to_out` -> `….attn1.to_out.0`; false for another layer.
bool rename_old_projection(std::string& layer, Network network) {
  for (const auto& rule : kOldProjections) {
    if (!layer.ends_with(rule.old)) continue;
    layer.resize(layer.size() - rule.old.size());
    constexpr std::string_view kProcessor = ".processor";
    if (layer.ends_with(kProcessor)) layer.resize(layer.size() - kProcessor.size());
    layer += network == Network::kUNet ? rule.unet : rule.text_encoder;
    return true;
  }
  return false;
}

LoraDialect dialect_of(const PrefixRule* prefix) {
  if (prefix == nullptr) return LoraDialect::kDiffusers;
  if (prefix->spelling == Spelling::kFlat) return LoraDialect::kKohya;
  return prefix->text.ends_with('/') ? LoraDialect::kOfficial : LoraDialect::kDiffusers;
}

/// The component that `rest` begins with and that has underscores, or nothing.
std::string_view long_component(std::string_view rest) {
  std::string_view longest;
  for (const auto component : kComponents) {
    const auto size = component.size();
    const bool is_whole = rest.size() == size || (rest.size() > size && rest[size] == '_');
    if (rest.starts_with(component) && is_whole && size > longest.size()) longest = component;
  }
  return longest;
}

std::string_view ending(LoraDialect dialect, Network network, LoraPart part) {
  const bool down = part == LoraPart::kDown;
  switch (dialect) {
    case LoraDialect::kOfficial:
    case LoraDialect::kKohya:
      return down ? ".lora_down.weight" : ".lora_up.weight";
    case LoraDialect::kPeft:
      return down ? ".lora_A.weight" : ".lora_B.weight";
    case LoraDialect::kDiffusers:
      if (network == Network::kUNet) return down ? ".lora.down.weight" : ".lora.up.weight";
      return down ? ".lora_linear_layer.down.weight" : ".lora_linear_layer.up.weight";
    case LoraDialect::kDiffusersOld:
      break;
  }
  throw Error(ErrorKind::kUsage, "LoRA in the attention processors of old diffusers is only read");
}

}  // namespace

std::string_view name_of(LoraDialect dialect) {
  switch (dialect) {
    case LoraDialect::kOfficial:
      return "Mix-of-Show";
    case LoraDialect::kKohya:
      return "kohya";
    case LoraDialect::kDiffusers:
      return "diffusers";
    case LoraDialect::kDiffusersOld:
      return "diffusers before 0.22 (attention processors)";
    case LoraDialect::kPeft:
      return "PEFT";
  }
  return "";
}

std::string_view name_of(Network network) {
  return network == Network::kUNet ? "unet" : "text_encoder";
}

namespace {

/// Throws kUsage for a layer that a reader of the flat name would take for another one.
std::string unambiguous_flat_name(const std::string& layer) {
  auto flat = flat_name(layer);
  if (dotted_name(flat) == layer) return flat;
  throw Error(ErrorKind::kUsage,
              fmt::format("the layer {} cannot be named as kohya does: {} would mean {}",
                          printable(layer), printable(flat), printable(dotted_name(flat))));
}

std::optional<LoraKey> read_key(std::string_view key) {
  const auto* suffix =
      std::find_if(kSuffixes.begin(), kSuffixes.end(),
                   [key](const SuffixRule& rule) { return key.ends_with(rule.text); });
  if (suffix == kSuffixes.end()) return std::nullopt;
  const auto* found =
      std::find_if(kPrefixes.begin(), kPrefixes.end(),
                   [key](const PrefixRule& rule) { return key.starts_with(rule.text); });
  const auto* prefix = found == kPrefixes.end() ? nullptr : found;
  const auto begin = prefix == nullptr ? 0 : prefix->text.size();
  if (key.size() <= begin + suffix->text.size()) return std::nullopt;

  LoraKey result{.dialect = suffix->dialect.value_or(dialect_of(prefix)), .part = suffix->part};
  const auto name = key.substr(begin, key.size() - begin - suffix->text.size());
  const bool flat = prefix != nullptr && prefix->spelling == Spelling::kFlat;
  result.layer = flat ? dotted_name(name) : std::string(name);
  const auto network =
      prefix != nullptr && prefix->network ? prefix->network : network_of_layer(result.layer);
  if (!network) return std::nullopt;
  result.network = *network;
  const bool old = suffix->dialect == LoraDialect::kDiffusersOld;
  if (old && !rename_old_projection(result.layer, result.network)) return std::nullopt;
  return result;
}

/// Whether the key means the same when it is written and read again. A layer's name could begin or
/// end like a prefix or suffix of another dialect; no layer of a model does.
bool comes_back(const LoraKey& key) {
  const bool kohya = key.dialect == LoraDialect::kKohya;
  if (kohya && dotted_name(flat_name(key.layer)) != key.layer) return false;
  auto written = key;
  if (key.part == LoraPart::kMid) written.part = LoraPart::kDown;
  if (key.dialect == LoraDialect::kDiffusersOld) written.dialect = LoraDialect::kDiffusers;
  const auto again = read_key(format_lora_key(written));
  return again == written;
}

}  // namespace

std::optional<LoraKey> parse_lora_key(std::string_view key) {
  auto result = read_key(key);
  return result && comes_back(*result) ? result : std::nullopt;
}

std::string format_lora_key(const LoraKey& key) {
  if (key.part == LoraPart::kMid) {
    throw Error(ErrorKind::kUsage, "the middle factor of a Tucker decomposition is only read");
  }
  const bool kohya = key.dialect == LoraDialect::kKohya;
  std::string text;
  if (kohya) {
    text = key.network == Network::kUNet ? "lora_unet_" : "lora_te_";
  } else {
    text = name_of(key.network);
    text += key.dialect == LoraDialect::kOfficial ? '/' : '.';
  }
  text += kohya ? unambiguous_flat_name(key.layer) : key.layer;
  return text +=
         key.part == LoraPart::kAlpha ? ".alpha" : ending(key.dialect, key.network, key.part);
}

std::string flat_name(std::string_view layer) {
  std::string flat(layer);
  std::replace(flat.begin(), flat.end(), '.', '_');
  return flat;
}

std::string dotted_name(std::string_view flat) {
  std::string dotted;
  while (!flat.empty()) {
    auto component = long_component(flat);
    if (component.empty()) component = flat.substr(0, flat.find('_'));
    dotted += component;
    flat.remove_prefix(component.size());
    if (flat.empty()) break;
    dotted += '.';
    flat.remove_prefix(1);
  }
  return dotted;
}

}  // namespace mos::concepts
