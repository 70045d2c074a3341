#include "mos/concepts/lora_names.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "mos/base/error.h"
#include "mos/base/text.h"
#include "mos/concepts/numbered_layers.h"

namespace mos::concepts {

using checkpoint::Part;

namespace {

/// How a layer's name stands in a key.
enum class Spelling { kDotted, kFlat };

/// What a key begins with. Longer ones first.
struct PrefixRule {
  std::string_view text;
  std::optional<Part> network;  ///< Nothing: told by the layer's name.
  Spelling spelling;
  LoraDialect dialect;
};
constexpr auto kPrefixes = std::to_array<PrefixRule>({
    {"text_encoder.base_model.model.", Part::kTextEncoder, Spelling::kDotted, LoraDialect::kPeft},
    {"unet.base_model.model.", Part::kUNet, Spelling::kDotted, LoraDialect::kPeft},
    {"base_model.model.", std::nullopt, Spelling::kDotted, LoraDialect::kPeft},
    {"text_encoder/", Part::kTextEncoder, Spelling::kDotted, LoraDialect::kOfficial},
    {"text_encoder.", Part::kTextEncoder, Spelling::kDotted, LoraDialect::kDiffusers},
    {"unet/", Part::kUNet, Spelling::kDotted, LoraDialect::kOfficial},
    {"unet.", Part::kUNet, Spelling::kDotted, LoraDialect::kDiffusers},
    {"lora_te_", Part::kTextEncoder, Spelling::kFlat, LoraDialect::kKohya},
    {"lora_unet_", Part::kUNet, Spelling::kFlat, LoraDialect::kKohya},
    {"lycoris_", std::nullopt, Spelling::kFlat, LoraDialect::kKohya},
    {"diffusion_model.", Part::kUNet, Spelling::kDotted, LoraDialect::kComfy},
    {"text_encoders.clip_l.transformer.", Part::kTextEncoder, Spelling::kDotted,
     LoraDialect::kComfy},
    {"text_encoders.clip_h.transformer.", Part::kTextEncoder, Spelling::kDotted,
     LoraDialect::kComfy},
});

/// What a key ends with. A dialect of nothing is told by the prefix. Sources: kohya sd-scripts
/// networks/lora.py, LyCORIS lycoris/modules, PEFT's tuners, diffusers' lora_conversion_utils.py.
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
    {".dora_scale", LoraPart::kMagnitude, std::nullopt},
    {".hada_w1_a", LoraPart::kHadamard1A, std::nullopt},
    {".hada_w1_b", LoraPart::kHadamard1B, std::nullopt},
    {".hada_w2_a", LoraPart::kHadamard2A, std::nullopt},
    {".hada_w2_b", LoraPart::kHadamard2B, std::nullopt},
    {".hada_t1", LoraPart::kHadamardT1, std::nullopt},
    {".hada_t2", LoraPart::kHadamardT2, std::nullopt},
    {".lokr_w1", LoraPart::kKronecker1, std::nullopt},
    {".lokr_w1_a", LoraPart::kKronecker1A, std::nullopt},
    {".lokr_w1_b", LoraPart::kKronecker1B, std::nullopt},
    {".lokr_w2", LoraPart::kKronecker2, std::nullopt},
    {".lokr_w2_a", LoraPart::kKronecker2A, std::nullopt},
    {".lokr_w2_b", LoraPart::kKronecker2B, std::nullopt},
    {".lokr_t2", LoraPart::kKroneckerT2, std::nullopt},
    {".diff", LoraPart::kDifference, std::nullopt},
    {".diff_b", LoraPart::kBiasDifference, std::nullopt},
    {".spectral_shift", LoraPart::kSpectralShift, LoraDialect::kOfficial},
    {".silenced", LoraPart::kSilenced, LoraDialect::kOfficial},
    {".lora_A.weight", LoraPart::kDown, LoraDialect::kPeft},
    {".lora_B.weight", LoraPart::kUp, LoraDialect::kPeft},
    {".lora_magnitude_vector.weight", LoraPart::kMagnitude, LoraDialect::kPeft},
    {".lora_magnitude_vector", LoraPart::kMagnitude, LoraDialect::kPeft},
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
  std::string_view text;
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
    "input_blocks",
    "middle_block",
    "output_blocks",
    "time_embed",
    "in_layers",
    "emb_layers",
    "out_layers",
    "skip_connection",
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
constexpr auto kFirstComponents = std::to_array<std::pair<std::string_view, Part>>({
    {"down_blocks.", Part::kUNet},
    {"mid_block.", Part::kUNet},
    {"up_blocks.", Part::kUNet},
    {"conv_in", Part::kUNet},
    {"conv_out", Part::kUNet},
    {"time_embedding.", Part::kUNet},
    {"text_model.", Part::kTextEncoder},
    {"text_projection", Part::kTextEncoder},
});

std::optional<Part> network_of_layer(std::string_view layer) {
  for (const auto& [beginning, network] : kFirstComponents) {
    if (layer.starts_with(beginning)) return network;
  }
  return std::nullopt;
}

/// `….attn1.processor.to_out` -> `….attn1.to_out.0`; false for another layer.
bool rename_old_projection(std::string& layer, Part network) {
  for (const auto& rule : kOldProjections) {
    if (!layer.ends_with(rule.old)) continue;
    layer.resize(layer.size() - rule.old.size());
    constexpr std::string_view kProcessor = ".processor";
    if (layer.ends_with(kProcessor)) layer.resize(layer.size() - kProcessor.size());
    layer += network == Part::kUNet ? rule.unet : rule.text;
    return true;
  }
  return false;
}

/// PEFT's modules that have a parameter for each adapter.
constexpr auto kNamedModules =
    std::to_array<std::string_view>({".lora_A.", ".lora_B.", ".lora_magnitude_vector."});

/// `….lora_A.NAME.weight` as `….lora_A.weight` and NAME; another key as it is.
std::pair<std::string, std::string> without_adapter(std::string_view key) {
  for (const auto module : kNamedModules) {
    const auto at = key.rfind(module);
    if (at == key.npos) continue;
    const auto begin = at + module.size();
    const auto rest = key.substr(begin);
    const auto name = rest.substr(0, rest.find('.'));
    const bool is_named =
        name != "weight" && (name == rest || rest.substr(name.size()) == ".weight");
    if (!is_named || name.empty()) break;
    return {std::string(key.substr(0, begin)) + "weight", std::string(name)};
  }
  return {std::string(key), ""};
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

/// How a dialect that is written ends its keys; empty where it has no name for this part.
std::string ending(LoraDialect dialect, Part network, LoraPart part) {
  const bool down = part == LoraPart::kDown;
  const bool is_half = down || part == LoraPart::kUp;
  switch (dialect) {
    case LoraDialect::kOfficial:
    case LoraDialect::kKohya: {
      const bool is_module = is_half || part == LoraPart::kMid;
      return fmt::format(".{}{}", name_of(part), is_module ? ".weight" : "");
    }
    case LoraDialect::kPeft:
      if (part == LoraPart::kMagnitude) return ".lora_magnitude_vector";
      return !is_half ? "" : down ? ".lora_A.weight" : ".lora_B.weight";
    case LoraDialect::kDiffusers:
      if (!is_half) return "";
      if (network == Part::kUNet) return down ? ".lora.down.weight" : ".lora.up.weight";
      return down ? ".lora_linear_layer.down.weight" : ".lora_linear_layer.up.weight";
    case LoraDialect::kDiffusersOld:
    case LoraDialect::kComfy:
    case LoraDialect::kSimo:
      break;
  }
  return "";
}

/// kohya's name of a layer, from which the layer's own can be told again.
std::string reversible_flat_name(const std::string& layer) {
  auto flat = flat_name(layer);
  if (dotted_name(flat) == layer) return flat;
  throw Error(ErrorKind::kMismatch,
              fmt::format("the layer {} would not be known again under kohya's name for it, {}; "
                          "write another format",
                          layer, flat));
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
    case LoraDialect::kComfy:
      return "ComfyUI";
    case LoraDialect::kSimo:
      return "cloneofsimo";
  }
  return "";
}

std::string_view name_of(LoraPart part) {
  const auto* rule = std::find_if(kSuffixes.begin(), kSuffixes.end(),
                                  [part](const SuffixRule& r) { return r.part == part; });
  const auto text = rule->text.substr(1);
  return text.substr(0, text.find('.'));
}

namespace {

std::optional<LoraKey> read_key(std::string_view full_key) {
  const auto [key, adapter] = without_adapter(full_key);
  const auto* suffix =
      std::find_if(kSuffixes.begin(), kSuffixes.end(),
                   [&](const SuffixRule& rule) { return key.ends_with(rule.text); });
  if (suffix == kSuffixes.end()) return std::nullopt;
  const auto* found = std::find_if(kPrefixes.begin(), kPrefixes.end(), [&](const PrefixRule& rule) {
    return key.starts_with(rule.text);
  });
  const auto* prefix = found == kPrefixes.end() ? nullptr : found;
  const auto begin = prefix == nullptr ? 0 : prefix->text.size();
  if (key.size() <= begin + suffix->text.size()) return std::nullopt;

  const auto spelled = prefix == nullptr ? LoraDialect::kDiffusers : prefix->dialect;
  LoraKey result{
      .dialect = suffix->dialect.value_or(spelled), .part = suffix->part, .adapter = adapter};
  const auto name = key.substr(begin, key.size() - begin - suffix->text.size());
  const bool flat = prefix != nullptr && prefix->spelling == Spelling::kFlat;
  result.layer = flat ? dotted_name(name) : name;
  const auto network =
      prefix != nullptr && prefix->network ? prefix->network : network_of_layer(result.layer);
  if (!network) return std::nullopt;
  result.network = *network;
  if (result.network == Part::kUNet && has_original_numbering(result.layer)) {
    result.layer = renumbered_layer(result.layer);
    if (result.layer.empty()) return std::nullopt;
  }
  const bool old = suffix->dialect == LoraDialect::kDiffusersOld;
  if (old && !rename_old_projection(result.layer, result.network)) return std::nullopt;
  return result;
}

/// Whether the layer is the same one when the key is written and read again. A layer's name could
/// begin like a prefix of some dialect; no layer of a model does.
bool comes_back(const LoraKey& key) {
  const bool kohya = key.dialect == LoraDialect::kKohya;
  if (kohya && dotted_name(flat_name(key.layer)) != key.layer) return false;
  auto written = key;
  written.adapter.clear();
  written.part = LoraPart::kDown;
  for (const auto dialect : {LoraDialect::kOfficial, LoraDialect::kDiffusers, LoraDialect::kPeft}) {
    written.dialect = dialect;
    const auto again = read_key(format_lora_key(written));
    if (again != written) return false;
  }
  return true;
}

}  // namespace

std::optional<LoraKey> parse_lora_key(std::string_view key) {
  auto result = read_key(key);
  return result && comes_back(*result) ? result : std::nullopt;
}

std::string format_lora_key(const LoraKey& key) {
  const auto end = ending(key.dialect, key.network, key.part);
  if (end.empty()) {
    throw Error(ErrorKind::kUsage, fmt::format("{} files have no name for {}", name_of(key.dialect),
                                               name_of(key.part)));
  }
  if (key.dialect == LoraDialect::kKohya) {
    const auto* prefix = key.network == Part::kUNet ? "lora_unet_" : "lora_te_";
    return prefix + reversible_flat_name(key.layer) + end;
  }
  const char separator = key.dialect == LoraDialect::kOfficial ? '/' : '.';
  return fmt::format("{}{}{}{}", folder_of(key.network), separator, key.layer, end);
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
