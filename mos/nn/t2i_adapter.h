#pragma once

#include <torch/nn/module.h>
#include <torch/nn/pimpl.h>
#include <torch/types.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "mos/base/json.h"
#include "mos/nn/linear.h"

namespace mos::nn {

/// The two T2I-Adapters for Stable Diffusion 1.x and 2.x (arXiv 2302.08453).
enum class T2IAdapterKind {
  kFull,   ///< keypose, sketch, canny, depth, …
  kLight,  ///< A quarter of the channels between two 1×1 convolutions: the colour adapter.
};

/// The config.json of a diffusers `T2IAdapter`.
struct T2IAdapterConfig {
  T2IAdapterKind kind = T2IAdapterKind::kFull;
  std::int64_t in_channels = 3;  ///< Of the condition picture: 3 (keypose) or 1 (sketch).
  /// Of each level: the U-Net's block channels. Files of a light adapter leave out the last level,
  /// which in diffusers is as wide as the one before (adapter.py, LightAdapter).
  std::vector<std::int64_t> channels = {320, 640, 1280, 1280};
  std::int64_t num_res_blocks = 2;    ///< In each level.
  std::int64_t downscale_factor = 8;  ///< Pixels for each latent position along one side.

  /// Throws kFormat on impossible values, kMismatch for the adapters of SDXL.
  static T2IAdapterConfig from_json(const Json& config);
  Json to_json() const;
  /// Throws kFormat on impossible values.
  void check() const;
};

/// diffusers' `T2IAdapter`: features of a condition picture for the down blocks of the U-Net.
/// Parameters: adapter.conv_in (full), adapter.body.N.{in_conv,resnets.M.{block1,block2},out_conv}.
class T2IAdapterImpl : public torch::nn::Module {
 public:
  explicit T2IAdapterImpl(const T2IAdapterConfig& config);

  /// picture [B,in_channels,H,W] in 0…1 -> one feature map [B,C,h,w] for each level, the first at
  /// H / downscale_factor, each next at half of the one before.
  std::vector<torch::Tensor> forward(const torch::Tensor& picture);

  const T2IAdapterConfig& config() const { return config_; }

 private:
  class Level;

  T2IAdapterConfig config_;
  Conv2d conv_in_{nullptr};  ///< Of the full adapter.
  std::vector<std::shared_ptr<Level>> levels_;
};
TORCH_MODULE(T2IAdapter);

}  // namespace mos::nn
