#include "mos/nn/unet_config.h"

#include <fmt/core.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "mos/base/error.h"
#include "mos/nn/limits.h"

namespace mos::nn {

namespace {

/// A config entry that is one number for all levels or a list with one for each.
std::vector<std::int64_t> per_level(const Json& config, const std::string& key,
                                    std::int64_t fallback, std::size_t levels) {
  const auto found = config.find(key);
  if (found != config.end() && found->is_array()) {
    auto list = json_required<std::vector<std::int64_t>>(config, key);
    if (list.size() != levels) {
      throw Error(ErrorKind::kFormat,
                  fmt::format("U-Net config: \"{}\" has {} entries, expected one for each of the "
                              "{} levels",
                              key, list.size(), levels));
    }
    return list;
  }
  return std::vector<std::int64_t>(levels, json_value<std::int64_t>(config, key, fallback));
}

std::vector<bool> attention_levels(const Json& config, const std::string& key,
                                   const std::vector<std::string>& kinds, std::size_t levels) {
  const auto types = json_required<std::vector<std::string>>(config, key);
  if (types.size() != levels) {
    throw Error(ErrorKind::kFormat,
                fmt::format("U-Net config: \"{}\" has {} blocks, but block_out_channels has {}",
                            key, types.size(), levels));
  }
  std::vector<bool> has_attention;
  for (const auto& type : types) {
    if (std::find(kinds.begin(), kinds.end(), type) == kinds.end()) {
      throw Error(
          ErrorKind::kFormat,
          fmt::format("U-Net config: block \"{}\" in \"{}\" is not supported (supported: {})", type,
                      key, fmt::join(kinds, ", ")));
    }
    has_attention.push_back(type == kinds.front());
  }
  return has_attention;
}

/// Switches of diffusers that change the network and that we do not build.
void refuse_unsupported(const Json& config) {
  const Json expected = {{"act_fn", "silu"},
                         {"addition_embed_type", nullptr},
                         {"class_embed_type", nullptr},
                         {"class_embeddings_concat", false},
                         {"conv_in_kernel", 3},
                         {"conv_out_kernel", 3},
                         {"cross_attention_norm", nullptr},
                         {"dual_cross_attention", false},
                         {"encoder_hid_dim", nullptr},
                         {"encoder_hid_dim_type", nullptr},
                         {"center_input_sample", false},
                         {"downsample_padding", 1},
                         {"mid_block_scale_factor", 1},
                         {"mid_block_type", "UNetMidBlock2DCrossAttn"},
                         {"mid_block_only_cross_attention", nullptr},
                         {"num_class_embeds", nullptr},
                         {"only_cross_attention", false},
                         {"resnet_out_scale_factor", 1.0},
                         {"resnet_skip_time_act", false},
                         {"resnet_time_scale_shift", "default"},
                         {"time_cond_proj_dim", nullptr},
                         {"time_embedding_act_fn", nullptr},
                         {"time_embedding_dim", nullptr},
                         {"time_embedding_type", "positional"},
                         {"timestep_post_act", nullptr}};
  for (const auto& [key, value] : expected.items()) {
    const auto found = config.find(key);
    // null is diffusers' way to write a default.
    if (found == config.end() || found->is_null() || *found == value) continue;
    throw Error(ErrorKind::kFormat,
                fmt::format("U-Net config: \"{}\": {} is not supported, expected {}", key,
                            quoted(*found), quoted(value)));
  }
}

void check_values(const UNetConfig& c) {
  const auto bad = [](const std::string& what) {
    throw Error(ErrorKind::kFormat, "U-Net config: " + what);
  };
  for (const auto size : {c.in_channels, c.out_channels, c.sample_size, c.cross_attention_dim}) {
    if (is_count(size, kLargestWidth)) continue;
    bad(
        fmt::format("in_channels, out_channels, sample_size and cross_attention_dim must lie in "
                    "1…{}, but one is {}",
                    kLargestWidth, size));
  }
  if (!is_count(c.norm_num_groups, kLargestWidth) || !(c.norm_eps > 0))
    bad("norm_num_groups and norm_eps must be positive");
  std::int64_t blocks = 0;
  for (std::size_t i = 0; i < c.block_out_channels.size(); ++i) {
    const auto channels = c.block_out_channels[i];
    if (!is_count(channels, kLargestWidth) || channels % c.norm_num_groups != 0) {
      bad(fmt::format(
          "block_out_channels has {}, expected a positive multiple of norm_num_groups {}", channels,
          c.norm_num_groups));
    }
    if (c.heads[i] < 1 || channels % c.heads[i] != 0) {
      bad(fmt::format("{} channels cannot be split into {} attention heads", channels, c.heads[i]));
    }
    if (!is_count(c.layers_per_block[i], kMostLayers) ||
        !is_count(c.transformer_depth[i], kMostLayers)) {
      bad(fmt::format("layers_per_block and transformer_layers_per_block must lie in 1…{}",
                      kMostLayers));
    }
    // Each number may be possible alone while their product builds layers for hours.
    blocks += c.layers_per_block[i] * c.transformer_depth[i];
  }
  if (blocks > kMostBlocks) bad(fmt::format("it has {} transformer blocks", blocks));
}

}  // namespace

UNetConfig UNetConfig::from_json(const Json& config) {
  refuse_unsupported(config);
  UNetConfig c;
  c.in_channels = json_value<std::int64_t>(config, "in_channels", 4);
  c.out_channels = json_value<std::int64_t>(config, "out_channels", 4);
  c.sample_size = json_value<std::int64_t>(config, "sample_size", 64);
  c.block_out_channels = json_required<std::vector<std::int64_t>>(config, "block_out_channels");
  const auto levels = c.block_out_channels.size();
  if (levels == 0 || levels > kMostLevels) {
    throw Error(ErrorKind::kFormat,
                fmt::format("U-Net config: block_out_channels has {} levels, expected 1…{}", levels,
                            kMostLevels));
  }
  c.layers_per_block = per_level(config, "layers_per_block", 2, levels);
  c.down_has_attention =
      attention_levels(config, "down_block_types", {"CrossAttnDownBlock2D", "DownBlock2D"}, levels);
  c.up_has_attention =
      attention_levels(config, "up_block_types", {"CrossAttnUpBlock2D", "UpBlock2D"}, levels);
  // diffusers: what older configs call attention_head_dim is the number of heads.
  const bool named =
      config.contains("num_attention_heads") && !config["num_attention_heads"].is_null();
  c.heads = per_level(config, named ? "num_attention_heads" : "attention_head_dim", 8, levels);
  c.transformer_depth = per_level(config, "transformer_layers_per_block", 1, levels);
  c.cross_attention_dim = json_value<std::int64_t>(config, "cross_attention_dim", 1280);
  c.norm_num_groups = json_value<std::int64_t>(config, "norm_num_groups", 32);
  c.norm_eps = json_value<double>(config, "norm_eps", 1e-5);
  c.use_linear_projection = json_value<bool>(config, "use_linear_projection", false);
  c.flip_sin_to_cos = json_value<bool>(config, "flip_sin_to_cos", true);
  c.freq_shift = json_value<double>(config, "freq_shift", 0.0);
  check_values(c);
  return c;
}

}  // namespace mos::nn
