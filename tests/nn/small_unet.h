#pragma once

#include "mos/nn/unet.h"

namespace mos::nn::test {

/// Two levels, with attention on the upper one.
inline UNetConfig small_unet(std::int64_t cross_attention_dim) {
  UNetConfig config;
  config.block_out_channels = {8, 16};
  config.down_has_attention = {true, false};
  config.up_has_attention = {false, true};
  config.layers_per_block = {1, 1};
  config.transformer_depth = {1, 1};
  config.heads = {2, 2};
  config.cross_attention_dim = cross_attention_dim;
  config.norm_num_groups = 4;
  return config;
}

}  // namespace mos::nn::test
