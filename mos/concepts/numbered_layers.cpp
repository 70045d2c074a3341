#include "mos/concepts/numbered_layers.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "mos/checkpoint/key_map.h"

namespace mos::concepts {

using checkpoint::Part;

namespace {

constexpr auto kOriginalBeginnings = std::to_array<std::string_view>(
    {"input_blocks.", "middle_block.", "output_blocks.", "time_embed.", "out."});

constexpr std::string_view kOriginalUNet = "model.diffusion_model.";
constexpr std::string_view kUNetFolder = "unet/";

/// The transformers of Stable Diffusion 1.x and 2.x have one block each, those of XL up to ten.
bool is_in_first_block(std::string_view layer) {
  constexpr std::string_view kBlocks = "transformer_blocks.";
  const auto found = layer.find(kBlocks);
  return found == layer.npos || layer.substr(found + kBlocks.size()).starts_with("0.");
}

/// Transformers with this many layers of each U-Net level (down_blocks.0 to 2, up_blocks.1 to 3).
struct Level {
  std::string_view list;
  int first, last, transformers;
};
/// Old diffusers registered the mid block behind the others.
constexpr auto kLevels = std::to_array<Level>({{"down_blocks", 0, 2, 2}, {"up_blocks", 1, 3, 3}});

constexpr auto kAttention = std::to_array<const char*>({"to_q", "to_k", "to_v", "to_out.0"});
/// The order in which transformers' CLIPAttention registers its projections.
constexpr auto kTextAttention =
    std::to_array<const char*>({"k_proj", "v_proj", "q_proj", "out_proj"});
/// More than the text encoder of any model of these families has (23 in 2.x).
constexpr int kTextLayers = 32;

std::vector<std::string> transformers() {
  std::vector<std::string> names;
  for (const auto& level : kLevels) {
    for (int block = level.first; block <= level.last; ++block) {
      for (int i = 0; i < level.transformers; ++i) {
        names.push_back(fmt::format("{}.{}.attentions.{}", level.list, block, i));
      }
    }
  }
  names.emplace_back("mid_block.attentions.0");
  return names;
}

std::vector<std::string> unet_layers(bool with_geglu) {
  std::vector<std::string> layers;
  for (const auto& transformer : transformers()) {
    const auto block = transformer + ".transformer_blocks.0.";
    const auto add_attention = [&](const char* name) {
      for (const auto* projection : kAttention) {
        layers.push_back(fmt::format("{}{}.{}", block, name, projection));
      }
    };
    add_attention("attn1");
    if (with_geglu) layers.push_back(block + "ff.net.0.proj");
    add_attention("attn2");
  }
  return layers;
}

std::vector<std::string> text_layers() {
  std::vector<std::string> layers;
  for (int i = 0; i < kTextLayers; ++i) {
    for (const auto* projection : kTextAttention) {
      layers.push_back(fmt::format("text_model.encoder.layers.{}.self_attn.{}", i, projection));
    }
  }
  return layers;
}

}  // namespace

bool has_original_numbering(std::string_view layer) {
  return std::any_of(kOriginalBeginnings.begin(), kOriginalBeginnings.end(),
                     [layer](std::string_view begin) { return layer.starts_with(begin); });
}

std::string renumbered_layer(std::string_view layer) {
  static const checkpoint::KeyMap names(checkpoint::KeyMapSizes{});
  const auto keys = names.to_diffusers(fmt::format("{}{}", kOriginalUNet, layer));
  if (keys.size() != 1 || !is_in_first_block(layer)) return "";
  return keys.front().substr(kUNetFolder.size());
}

std::optional<std::vector<std::string>> layers_of_classes(Part network,
                                                          const std::vector<std::string>& classes) {
  const auto has = [&](std::string_view name) {
    return std::find(classes.begin(), classes.end(), name) != classes.end();
  };
  const auto known = [&](const std::string& name) {
    if (network == Part::kTextEncoder) return name == "CLIPAttention";
    return name == "CrossAttention" || name == "Attention" || name == "GEGLU";
  };
  if (classes.empty() || !std::all_of(classes.begin(), classes.end(), known)) return std::nullopt;
  if (network == Part::kTextEncoder) return text_layers();
  if (!has("CrossAttention") && !has("Attention")) return std::nullopt;
  return unet_layers(has("GEGLU"));
}

}  // namespace mos::concepts
