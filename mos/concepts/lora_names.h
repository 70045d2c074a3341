#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "mos/checkpoint/part.h"
#include "mos/concepts/layer_update.h"

/// The names that LoRA tensors have in files: one table for all programs that write them.
namespace mos::concepts {

/// Who spells keys like that.
enum class LoraDialect {
  kOfficial,   ///< `unet/<layer>.lora_down.weight`: the authors' files and ours.
  kKohya,      ///< `lora_unet_<layer with underscores>.lora_down.weight`, and `.alpha`.
  kDiffusers,  ///< `unet.<layer>.lora.down.weight`, `….lora_linear_layer.down.weight` for text.
  kDiffusersOld,  ///< `unet.<attention>.processor.to_q_lora.down.weight`.
  kPeft,          ///< `unet.<layer>.lora_A.weight`, also below `base_model.model.`.
  kComfy,         ///< `diffusion_model.<layer>.lora_up.weight`,
                  ///< `….clip_l.transformer.<layer>…` for text.
  kSimo,          ///< `unet:<number>:up`, see numbered_layers.h.
};

/// What a key says. `layer` is the dotted name of diffusers or transformers, whatever numbering the
/// key has.
struct LoraKey {
  LoraDialect dialect = LoraDialect::kOfficial;
  checkpoint::Part network = checkpoint::Part::kUNet;
  std::string layer;
  LoraPart part = LoraPart::kDown;
  /// PEFT's name of it, where the key has one: `lora_A.<adapter>.weight`.
  std::string adapter = {};

  bool operator==(const LoraKey&) const = default;
};

/// "kohya", "diffusers", …
std::string_view name_of(LoraDialect dialect);

/// Reads a key of any dialect; nothing when it is none, or when its layer has a name that would not
/// come back from writing and reading it.
std::optional<LoraKey> parse_lora_key(std::string_view key);

/// Writes a key in its dialect; kOfficial and kKohya have names for every part, kDiffusers for
/// kDown and kUp, kPeft for kMagnitude too. Throws mos::Error(kUsage) for other parts and dialects,
/// which are only read, and for a layer that kohya's names cannot tell from another.
std::string format_lora_key(const LoraKey& key);

/// `down_blocks.0.attentions.0.proj_in` -> `down_blocks_0_attentions_0_proj_in`, as kohya does.
std::string flat_name(std::string_view layer);
/// The way back. Names of the layers of CLIP and of the U-Net have underscores of their own
/// (`down_blocks`, `to_out`); a list of these makes it unambiguous.
std::string dotted_name(std::string_view flat);

/// What kind of network a key is from that is not applied here: "OFT", "a LoRA for Stable Diffusion
/// XL". Nothing for keys of ours and for keys that nobody knows.
std::optional<std::string_view> foreign_kind(std::string_view key);

}  // namespace mos::concepts
