#include <algorithm>
#include <array>

#include "mos/concepts/lora_names.h"

namespace mos::concepts {

namespace {

/// Keys that contain `mark` (or begin with it) belong to `kind`; those that only begin like ours do
/// unless they name a layer of ours.
struct ForeignRule {
  enum class Where { kWhole, kBegin, kBeginElsewhere, kInside, kEnd };
  Where where;
  std::string_view mark;
  std::string_view kind;
};
using Where = ForeignRule::Where;

/// Sources: LyCORIS lycoris/modules, PEFT's tuners, kohya sd-scripts networks and
/// library/lora_utils for other families.
constexpr auto kForeign = std::to_array<ForeignRule>({
    {Where::kBegin, "lora_te1_", "a LoRA for Stable Diffusion XL"},
    {Where::kBegin, "lora_te2_", "a LoRA for Stable Diffusion XL"},
    {Where::kBegin, "text_encoder_2.", "a LoRA for Stable Diffusion XL"},
    {Where::kBeginElsewhere, "lora_unet_input_blocks_", "a LoRA for Stable Diffusion XL"},
    {Where::kBeginElsewhere, "lora_unet_middle_block_", "a LoRA for Stable Diffusion XL"},
    {Where::kBeginElsewhere, "lora_unet_output_blocks_", "a LoRA for Stable Diffusion XL"},
    {Where::kBegin, "lora_unet_add_embedding_", "a LoRA for Stable Diffusion XL"},
    {Where::kBegin, "lora_unet_label_emb_", "a LoRA for Stable Diffusion XL"},
    {Where::kBegin, "text_encoders.clip_g.", "a LoRA for Stable Diffusion XL"},
    {Where::kBeginElsewhere, "diffusion_model.input_blocks.", "a LoRA for Stable Diffusion XL"},
    {Where::kBeginElsewhere, "diffusion_model.middle_block.", "a LoRA for Stable Diffusion XL"},
    {Where::kBeginElsewhere, "diffusion_model.output_blocks.", "a LoRA for Stable Diffusion XL"},
    {Where::kBegin, "diffusion_model.label_emb.", "a LoRA for Stable Diffusion XL"},
    {Where::kBegin, "diffusion_model.double_blocks.", "a LoRA for FLUX"},
    {Where::kBegin, "diffusion_model.single_blocks.", "a LoRA for FLUX"},
    {Where::kBegin, "diffusion_model.joint_blocks.", "a LoRA for Stable Diffusion 3"},
    {Where::kBeginElsewhere, "diffusion_model.blocks.", "a LoRA for a diffusion transformer"},
    {Where::kBeginElsewhere, "diffusion_model.layers.", "a LoRA for a diffusion transformer"},
    {Where::kBegin, "diffusion_model.transformer_blocks.", "a LoRA for a diffusion transformer"},
    {Where::kBegin, "text_encoders.t5", "a LoRA for a T5 text encoder (Stable Diffusion 3, FLUX)"},
    {Where::kBegin, "lora_te3_", "a LoRA for a T5 text encoder (Stable Diffusion 3, FLUX)"},
    {Where::kWhole, "clip_g", "an embedding for the two text encoders of Stable Diffusion XL"},
    {Where::kWhole, "clip_l", "an embedding for the two text encoders of Stable Diffusion XL"},
    {Where::kWhole, "text_encoders_0",
     "an embedding for the two text encoders of Stable Diffusion XL"},
    {Where::kWhole, "text_encoders_1",
     "an embedding for the two text encoders of Stable Diffusion XL"},
    {Where::kWhole, "t5xxl", "an embedding for T5 (Stable Diffusion 3, FLUX)"},
    {Where::kWhole, "t5", "an embedding for T5 (Stable Diffusion 3, FLUX)"},
    {Where::kBegin, "lora_unet_double_blocks_", "a LoRA for FLUX"},
    {Where::kBegin, "lora_unet_single_blocks_", "a LoRA for FLUX"},
    {Where::kBegin, "lora_unet_joint_blocks_", "a LoRA for Stable Diffusion 3"},
    {Where::kBegin, "transformer.",
     "a LoRA for a diffusion transformer (Stable Diffusion 3, FLUX)"},
    {Where::kBegin, "lora_transformer_",
     "a LoRA for a diffusion transformer (Stable Diffusion 3, FLUX)"},
    {Where::kInside, ".oft_blocks", "OFT"},
    {Where::kInside, ".oft_diag", "OFT"},
    {Where::kInside, ".oft_r", "OFT"},
    {Where::kInside, ".boft_", "BOFT"},
    {Where::kEnd, ".on_input", "(IA)³"},
    {Where::kInside, ".ia3_l", "(IA)³"},
    {Where::kEnd, ".a1.weight", "GLoRA"},
    {Where::kEnd, ".a2.weight", "GLoRA"},
    {Where::kEnd, ".b1.weight", "GLoRA"},
    {Where::kEnd, ".b2.weight", "GLoRA"},
    {Where::kInside, ".vera_lambda_", "VeRA"},
    {Where::kInside, ".lora_E", "AdaLoRA"},
    {Where::kInside, ".lora_embedding_", "a LoRA of an embedding table"},
    {Where::kEnd, ".w_norm", "trained normalisation layers (LyCORIS)"},
    {Where::kEnd, ".b_norm", "trained normalisation layers (LyCORIS)"},
});

bool holds(const ForeignRule& rule, std::string_view key) {
  switch (rule.where) {
    case Where::kWhole:
      return key == rule.mark;
    case Where::kBeginElsewhere:
      return key.starts_with(rule.mark) && !parse_lora_key(key);
    case Where::kBegin:
      return key.starts_with(rule.mark);
    case Where::kEnd:
      return key.ends_with(rule.mark);
    case Where::kInside:
      break;
  }
  return key.find(rule.mark) != key.npos;
}

}  // namespace

std::optional<std::string_view> foreign_kind(std::string_view key) {
  const auto* rule = std::find_if(kForeign.begin(), kForeign.end(),
                                  [key](const ForeignRule& r) { return holds(r, key); });
  if (rule == kForeign.end()) return std::nullopt;
  return rule->kind;
}

}  // namespace mos::concepts
