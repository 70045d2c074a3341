#pragma once

#include <torch/types.h>

#include <cstdint>
#include <vector>

#include "mos/base/json.h"

namespace mos::nn {

/// The part of a `UNet2DConditionModel` config.json that changes the network.
struct UNetConfig {
  std::int64_t in_channels = 4;
  std::int64_t out_channels = 4;
  std::int64_t sample_size = 64;  ///< Latent side the model was trained at.
  std::vector<std::int64_t> block_out_channels = {320, 640, 1280, 1280};
  std::vector<std::int64_t> layers_per_block = {2, 2, 2, 2};
  std::vector<bool> down_has_attention = {true, true, true, false};
  std::vector<bool> up_has_attention = {false, true, true, true};
  std::vector<std::int64_t> heads = {8, 8, 8, 8};  ///< Attention heads of each level.
  std::vector<std::int64_t> transformer_depth = {1, 1, 1, 1};
  std::int64_t cross_attention_dim = 768;  ///< Text width C.
  std::int64_t norm_num_groups = 32;
  double norm_eps = 1e-5;
  bool use_linear_projection = false;
  bool flip_sin_to_cos = true;
  double freq_shift = 0.0;

  /// Throws kFormat on impossible values and on switches of diffusers that we do not build, by
  /// name.
  static UNetConfig from_json(const Json& config);
};

/// Sinusoidal embedding of timesteps [B] -> [B,channels] float32 (diffusers `Timesteps`).
torch::Tensor timestep_embedding(const torch::Tensor& timesteps, std::int64_t channels,
                                 const UNetConfig& config);

}  // namespace mos::nn
