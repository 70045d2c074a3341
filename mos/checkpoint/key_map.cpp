#include "mos/checkpoint/key_map.h"

#include <fmt/format.h>

#include <array>

#include "mos/checkpoint/part.h"

namespace mos::checkpoint {
namespace {

using nn::UNetConfig;
using nn::VaeConfig;

/// A layer in the original layout and in diffusers'.
struct Rule {
  std::string_view ldm;
  std::string_view diffusers;
};

// U-Net (ldm/modules/diffusionmodules/openaimodel.py). The numbered blocks are added by add_unet.

constexpr std::string_view kUNet = "model.diffusion_model";

constexpr std::array kUNetRules = {
    Rule{"time_embed.0", "time_embedding.linear_1"},
    Rule{"time_embed.2", "time_embedding.linear_2"},
    Rule{"input_blocks.0.0", "conv_in"},
    Rule{"middle_block.1", "mid_block.attentions.0"},
    Rule{"out.0", "conv_norm_out"},
    Rule{"out.2", "conv_out"},
};

constexpr std::array kResnetRules = {
    Rule{"in_layers.0", "norm1"},          Rule{"in_layers.2", "conv1"},
    Rule{"emb_layers.1", "time_emb_proj"}, Rule{"out_layers.0", "norm2"},
    Rule{"out_layers.3", "conv2"},         Rule{"skip_connection", "conv_shortcut"},
};

// VAE (ldm/modules/diffusionmodules/model.py); {half} is encoder or decoder.

constexpr std::string_view kVae = "first_stage_model";

constexpr std::array kVaeRules = {
    Rule{"quant_conv", "quant_conv"},
    Rule{"post_quant_conv", "post_quant_conv"},
};

constexpr std::array kVaeHalfRules = {
    Rule{"conv_in", "conv_in"},
    Rule{"conv_out", "conv_out"},
    Rule{"norm_out", "conv_norm_out"},
    Rule{"mid.block_1", "mid_block.resnets.0"},
    Rule{"mid.block_2", "mid_block.resnets.1"},
    Rule{"mid.attn_1.norm", "mid_block.attentions.0.group_norm"},
    Rule{"mid.attn_1.q", "mid_block.attentions.0.to_q"},
    Rule{"mid.attn_1.k", "mid_block.attentions.0.to_k"},
    Rule{"mid.attn_1.v", "mid_block.attentions.0.to_v"},
    Rule{"mid.attn_1.proj_out", "mid_block.attentions.0.to_out.0"},
};

// Text encoders; {} is the number of a layer.

/// The text encoder's key of diffusers for one of its layers.
std::string text_key(std::string_view layer) {
  return fmt::format("{}/{}", folder_of(Part::kTextEncoder), layer);
}

constexpr Rule kClip = {"cond_stage_model.transformer.text_model", "text_model"};
/// As some merging tools wrote it, with transformers 4.30's layout of the module: read only.
constexpr std::array kOldClipRules = {
    Rule{"cond_stage_model.transformer.embeddings", "text_model.embeddings"},
    Rule{"cond_stage_model.transformer.encoder", "text_model.encoder"},
    Rule{"cond_stage_model.transformer.final_layer_norm", "text_model.final_layer_norm"},
};

constexpr std::string_view kOpenClip = "cond_stage_model.model";

constexpr std::array kOpenClipRules = {
    Rule{"token_embedding", "text_model.embeddings.token_embedding"},
    Rule{"positional_embedding", "text_model.embeddings.position_embedding.weight"},
    Rule{"ln_final", "text_model.final_layer_norm"},
};

constexpr std::array kOpenClipLayerRules = {
    Rule{"ln_1", "layer_norm1"},
    Rule{"ln_2", "layer_norm2"},
    Rule{"mlp.c_fc", "mlp.fc1"},
    Rule{"mlp.c_proj", "mlp.fc2"},
    Rule{"attn.out_proj", "self_attn.out_proj"},
};

constexpr std::array kProjections = {"q_proj", "k_proj", "v_proj"};

/// Calls `found(value, rest)` for the longest start of `key`, cut at dots, that `map` has.
template <typename Map, typename Found>
void find_longest(const Map& map, std::string_view key, Found found) {
  for (auto end = key.size(); end != std::string_view::npos && end > 0;
       end = key.rfind('.', end - 1)) {
    const auto entry = map.find(key.substr(0, end));
    if (entry != map.end()) return found(entry->second, std::string(key.substr(end)));
  }
}

}  // namespace

KeyMap::KeyMap(const KeyMapSizes& sizes) {
  add_unet(sizes.unet);
  for (const auto& [ldm, diffusers] : kVaeRules) {
    add(fmt::format("{}.{}", kVae, ldm), fmt::format("vae/{}", diffusers));
  }
  add_vae_half(sizes.vae, "encoder");
  add_vae_half(sizes.vae, "decoder");
  if (sizes.text == TextEncoderKind::kOpenClip) {
    add_open_clip(sizes.text_layers);
    return;
  }
  add(std::string(kClip.ldm), text_key(kClip.diffusers));
  for (const auto& [ldm, diffusers] : kOldClipRules) {
    diffusers_[std::string(ldm)] = {text_key(diffusers)};
  }
}

void KeyMap::add(const std::string& ldm, const std::string& diffusers) {
  diffusers_[ldm] = {diffusers};
  ldm_[diffusers] = {.key = ldm};
}

void KeyMap::add_resnet(const std::string& ldm, const std::string& diffusers) {
  for (const auto& rule : kResnetRules) {
    add(fmt::format("{}.{}", ldm, rule.ldm), fmt::format("{}.{}", diffusers, rule.diffusers));
  }
}

void KeyMap::add_unet(const UNetConfig& config) {
  // A block of the original code and its resnet or, with index 1, its transformer.
  const auto ldm = [](const char* list, std::int64_t block, int index) {
    return fmt::format("{}.{}.{}.{}", kUNet, list, block, index);
  };
  const auto ours = [](const char* list, std::size_t level, const char* kind, std::int64_t i) {
    return fmt::format("unet/{}.{}.{}.{}", list, level, kind, i);
  };
  for (const auto& rule : kUNetRules) {
    add(fmt::format("{}.{}", kUNet, rule.ldm), fmt::format("unet/{}", rule.diffusers));
  }
  add_resnet(fmt::format("{}.middle_block.0", kUNet), "unet/mid_block.resnets.0");
  add_resnet(fmt::format("{}.middle_block.2", kUNet), "unet/mid_block.resnets.1");

  const auto levels = config.block_out_channels.size();
  std::int64_t block = 1;  // block 0 is conv_in
  for (std::size_t level = 0; level < levels; ++level) {
    for (std::int64_t i = 0; i < config.layers_per_block[level]; ++i, ++block) {
      add_resnet(ldm("input_blocks", block, 0), ours("down_blocks", level, "resnets", i));
      if (!config.down_has_attention[level]) continue;
      add(ldm("input_blocks", block, 1), ours("down_blocks", level, "attentions", i));
    }
    if (level + 1 == levels) break;
    add(ldm("input_blocks", block, 0) + ".op",
        ours("down_blocks", level, "downsamplers", 0) + ".conv");
    ++block;
  }

  block = 0;
  for (std::size_t position = 0; position < levels; ++position) {
    const auto count = config.layers_per_block[levels - 1 - position] + 1;
    const bool attention = config.up_has_attention[position];
    for (std::int64_t i = 0; i < count; ++i, ++block) {
      add_resnet(ldm("output_blocks", block, 0), ours("up_blocks", position, "resnets", i));
      if (!attention) continue;
      add(ldm("output_blocks", block, 1), ours("up_blocks", position, "attentions", i));
    }
    if (position + 1 == levels) break;
    add(ldm("output_blocks", block - 1, attention ? 2 : 1) + ".conv",
        ours("up_blocks", position, "upsamplers", 0) + ".conv");
  }
}

void KeyMap::add_vae_half(const VaeConfig& config, std::string_view half) {
  const auto add_layer = [&](const std::string& ldm, const std::string& diffusers) {
    add(fmt::format("{}.{}.{}", kVae, half, ldm), fmt::format("vae/{}.{}", half, diffusers));
  };
  for (const auto& rule : kVaeHalfRules) {
    add_layer(std::string(rule.ldm), std::string(rule.diffusers));
  }
  const bool encodes = half == "encoder";
  const auto levels = config.block_out_channels.size();
  const auto count = config.layers_per_block + (encodes ? 0 : 1);
  for (std::size_t position = 0; position < levels; ++position) {
    // The original code numbers levels of the decoder from the finest on.
    const auto level = encodes ? position : levels - 1 - position;
    const auto ldm = fmt::format("{}.{}", encodes ? "down" : "up", level);
    const auto diffusers = fmt::format("{}.{}", encodes ? "down_blocks" : "up_blocks", position);
    for (std::int64_t i = 0; i < count; ++i) {
      const auto block = fmt::format("{}.block.{}", ldm, i);
      const auto resnet = fmt::format("{}.resnets.{}", diffusers, i);
      add_layer(block, resnet);
      add_layer(block + ".nin_shortcut", resnet + ".conv_shortcut");
    }
    if (position + 1 == levels) break;
    add_layer(fmt::format("{}.{}.conv", ldm, encodes ? "downsample" : "upsample"),
              fmt::format("{}.{}.0.conv", diffusers, encodes ? "downsamplers" : "upsamplers"));
  }
}

void KeyMap::add_open_clip(std::int64_t layers) {
  for (const auto& [ldm, diffusers] : kOpenClipRules) {
    add(fmt::format("{}.{}", kOpenClip, ldm), text_key(diffusers));
  }
  for (std::int64_t i = 0; i < layers; ++i) {
    const auto block = fmt::format("{}.transformer.resblocks.{}", kOpenClip, i);
    const auto layer = text_key(fmt::format("text_model.encoder.layers.{}", i));
    for (const auto& [ldm, diffusers] : kOpenClipLayerRules) {
      add(fmt::format("{}.{}", block, ldm), fmt::format("{}.{}", layer, diffusers));
    }
    for (const auto* kind : {"weight", "bias"}) {
      const auto joined = fmt::format("{}.attn.in_proj_{}", block, kind);
      for (std::size_t piece = 0; piece < kProjections.size(); ++piece) {
        const auto key = fmt::format("{}.self_attn.{}.{}", layer, kProjections[piece], kind);
        diffusers_[joined].push_back(key);
        ldm_[key] = {.key = joined, .piece = piece, .pieces = kProjections.size()};
      }
    }
  }
}

std::vector<std::string> KeyMap::to_diffusers(std::string_view key) const {
  std::vector<std::string> keys;
  find_longest(diffusers_, key, [&](const auto& prefixes, const std::string& rest) {
    for (const auto& prefix : prefixes) keys.push_back(prefix + rest);
  });
  return keys;
}

LdmPlace KeyMap::to_ldm(std::string_view key) const {
  LdmPlace place;
  find_longest(ldm_, key, [&](const LdmPlace& found, const std::string& rest) {
    place = found;
    place.key += rest;
  });
  return place;
}

}  // namespace mos::checkpoint
