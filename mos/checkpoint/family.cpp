#include "mos/checkpoint/family.h"

#include <fmt/core.h>

#include <array>
#include <string_view>

#include "mos/base/error.h"

namespace mos::checkpoint {
namespace {

/// A tensor whose presence tells what a file is.
struct Sign {
  std::string_view key;
  Content content;
  Naming naming;
};

/// The first that is there decides: what contains the other parts stands above them.
constexpr std::array kSigns = {
    Sign{"control_model.input_hint_block.0.weight", Content::kControlNet, Naming::kLdm},
    // Of a ControlNet first: a file of one may bring its whole base model along.
    Sign{"controlnet_cond_embedding.conv_in.weight", Content::kControlNet, Naming::kDiffusers},
    Sign{"input_hint_block.0.weight", Content::kControlNet, Naming::kLdm},
    Sign{"model.diffusion_model.input_blocks.0.0.weight", Content::kModel, Naming::kLdm},
    Sign{"model.diffusion_model.x_embedder.proj.weight", Content::kModel, Naming::kLdm},
    Sign{"model.diffusion_model.double_blocks.0.img_attn.qkv.weight", Content::kModel,
         Naming::kLdm},
    // Transformers of Flux and Stable Diffusion 3 count as U-Nets here, so that they are refused
    // for what they are.
    Sign{"double_blocks.0.img_attn.qkv.weight", Content::kUNet, Naming::kLdm},
    Sign{"transformer_blocks.0.attn.add_q_proj.weight", Content::kUNet, Naming::kDiffusers},
    Sign{"input_blocks.0.0.weight", Content::kUNet, Naming::kLdm},
    Sign{"time_embedding.linear_1.weight", Content::kUNet, Naming::kDiffusers},
    Sign{"first_stage_model.decoder.conv_in.weight", Content::kVae, Naming::kLdm},
    Sign{"decoder.up.0.block.0.conv1.weight", Content::kVae, Naming::kLdm},
    Sign{"decoder.up_blocks.0.resnets.0.conv1.weight", Content::kVae, Naming::kDiffusers},
    Sign{"text_model.embeddings.token_embedding.weight", Content::kTextEncoder, Naming::kDiffusers},
    Sign{"cond_stage_model.transformer.text_model.embeddings.token_embedding.weight",
         Content::kTextEncoder, Naming::kLdm},
    Sign{"adapter.body.0.resnets.0.block1.weight", Content::kAdapter, Naming::kDiffusers},
    Sign{"body.0.block1.weight", Content::kAdapter, Naming::kLdm},
    Sign{"body.0.in_conv.weight", Content::kAdapter, Naming::kLdm},
};

const torch::Tensor* find(const io::StateDict& tensors, std::string_view key) {
  const auto found = tensors.find(std::string(key));
  return found == tensors.end() ? nullptr : &found->second;
}

bool has_prefix(const io::StateDict& tensors, const std::string& prefix) {
  // Names are sorted: what begins with the prefix stands from here on.
  const auto found = tensors.lower_bound(prefix);
  return found != tensors.end() && found->first.starts_with(prefix);
}

/// The text width of the first cross-attention: 768 in SD 1.x, 1024 in 2.x, 2048 in XL.
std::int64_t context_width(const io::StateDict& tensors) {
  constexpr std::string_view kCrossKey = "attn2.to_k.weight";
  for (const auto& [key, tensor] : tensors) {
    if (key.ends_with(kCrossKey) && tensor.dim() == 2) return tensor.size(1);
  }
  return 0;
}

bool is_transformer(const io::StateDict& tensors) {
  for (const auto* prefix : {"model.diffusion_model.joint_blocks.", "joint_blocks."}) {
    if (has_prefix(tensors, prefix)) return true;
  }
  return find(tensors, "transformer_blocks.0.attn.add_q_proj.weight") != nullptr;
}

Family family_of_network(const io::StateDict& tensors) {
  for (const auto* prefix : {"model.diffusion_model.double_blocks.", "double_blocks."}) {
    if (has_prefix(tensors, prefix)) return Family::kFlux;
  }
  if (is_transformer(tensors)) return Family::kSd3;
  switch (context_width(tensors)) {
    case 2048:
      return Family::kSdxl;
    case 1280:
      return Family::kSdxlRefiner;
    default:
      break;
  }
  // SD 2.x turned the projections of its transformers from convolutions into linear layers.
  for (const auto& [key, tensor] : tensors) {
    if (key.ends_with(".proj_in.weight")) return tensor.dim() == 2 ? Family::kSd2 : Family::kSd1;
  }
  return Family::kOther;
}

/// Latents of SD 3 and Flux have 16 channels; those of SD 1.x, 2.x and XL look alike.
Family family_of_vae(const io::StateDict& tensors) {
  for (const auto* key : {"first_stage_model.decoder.conv_in.weight", "decoder.conv_in.weight"}) {
    const auto* weight = find(tensors, key);
    if (weight != nullptr && weight->dim() == 4) {
      return weight->size(1) == 4 ? Family::kSd1 : Family::kOther;
    }
  }
  return Family::kOther;
}

/// ViT-H of SD 2.x is 1024 wide, ViT-L of SD 1.x 768.
Family family_of_text_tower(const io::StateDict& tensors) {
  for (const auto& [key, tensor] : tensors) {
    if (!key.ends_with("token_embedding.weight") || tensor.dim() != 2) continue;
    return tensor.size(1) == 1024 ? Family::kSd2 : Family::kSd1;
  }
  return Family::kOther;
}

/// First and last convolution of a U-Net, in each naming.
constexpr std::pair<const char*, const char*> kEnds[] = {
    {"model.diffusion_model.input_blocks.0.0.weight", "model.diffusion_model.out.2.weight"},
    {"input_blocks.0.0.weight", "out.2.weight"},
    {"conv_in.weight", "conv_out.weight"}};

std::string variety_of_unet(const io::StateDict& tensors) {
  // Picture editing and its like are ordinary U-Nets with a wider first convolution; all else is
  // the same, so they would load and paint noise. Inpainting ones are painted with as they are.
  for (const auto& [first, last] : kEnds) {
    const auto* weight = find(tensors, first);
    if (weight == nullptr || weight->dim() != 4) continue;
    const auto channels = weight->size(1);
    if (channels == 4 || channels == 9) continue;
    const auto* out = find(tensors, last);
    if (out != nullptr && out->size(0) == channels) continue;  // latents of another VAE
    const char* purpose = channels == 8   ? "picture-editing "
                          : channels == 5 ? "depth-guided "
                          : channels == 7 ? "upscaling "
                                          : "";
    return fmt::format("{}U-Net with {} input channels", purpose, channels);
  }
  for (const auto* prefix :
       {"model.diffusion_model.label_emb.", "label_emb.", "class_embedding."}) {
    if (has_prefix(tensors, prefix)) return "U-Net with a class embedding";
  }
  return "";
}

}  // namespace

std::optional<Identity> identify(const io::StateDict& tensors) {
  for (const auto& sign : kSigns) {
    if (find(tensors, sign.key) == nullptr) continue;
    Identity identity{.content = sign.content, .naming = sign.naming};
    switch (sign.content) {
      case Content::kVae:
        identity.family = family_of_vae(tensors);
        break;
      case Content::kTextEncoder:
        identity.family = family_of_text_tower(tensors);
        break;
      case Content::kAdapter:
        break;
      default:
        identity.family = family_of_network(tensors);
        break;
    }
    // A variety matters only where we would build the network otherwise.
    const bool has_unet = sign.content == Content::kModel || sign.content == Content::kUNet;
    if (has_unet && (identity.family == Family::kSd1 || identity.family == Family::kSd2)) {
      identity.variety = variety_of_unet(tensors);
    }
    return identity;
  }
  return std::nullopt;
}

std::string name_of(Family family) {
  switch (family) {
    case Family::kSd1:
      return "Stable Diffusion 1.x";
    case Family::kSd2:
      return "Stable Diffusion 2.x";
    case Family::kSdxl:
      return "Stable Diffusion XL";
    case Family::kSdxlRefiner:
      return "Stable Diffusion XL refiner";
    case Family::kSd3:
      return "Stable Diffusion 3";
    case Family::kFlux:
      return "Flux";
    case Family::kOther:
      break;
  }
  return "an unknown family";
}

Family family_of_width(std::int64_t width) {
  if (width == 768) return Family::kSd1;
  return width == 1024 ? Family::kSd2 : Family::kOther;
}

/// What an embedding of this width was made for: a word has one number for each channel of its text
/// encoder, and nothing else in its file says which one that is.
std::string family_of_text_width(std::int64_t width) {
  switch (width) {
    case 768:
      return name_of(Family::kSd1);
    case 1024:
      return name_of(Family::kSd2);
    case 1280:
    case 2048:
      return fmt::format("{}, which is not supported", name_of(Family::kSdxl));
    case 4096:
      return "a model with a T5 text encoder (Stable Diffusion 3, FLUX), which is not supported";
    default:
      return "a model of another size";
  }
}

std::string name_of(Content content) {
  switch (content) {
    case Content::kModel:
      return "model";
    case Content::kUNet:
      return "U-Net";
    case Content::kVae:
      return "VAE";
    case Content::kTextEncoder:
      return "text encoder";
    case Content::kControlNet:
      return "ControlNet";
    case Content::kAdapter:
      return "T2I-Adapter";
  }
  return "";
}

void require_buildable(const Identity& identity, const std::string& origin) {
  const bool known = identity.family == Family::kSd1 || identity.family == Family::kSd2;
  if (identity.content == Content::kModel && known && identity.variety.empty()) return;
  const auto what =
      identity.variety.empty()
          ? fmt::format("a {} of {}", name_of(identity.content), name_of(identity.family))
          : fmt::format("a {} of {} ({})", name_of(identity.content), name_of(identity.family),
                        identity.variety);
  throw Error(ErrorKind::kMismatch,
              fmt::format("cannot use {} as a base model: it is {}; expected a plain model of "
                          "Stable Diffusion 1.x or 2.x",
                          origin, what));
}

}  // namespace mos::checkpoint
