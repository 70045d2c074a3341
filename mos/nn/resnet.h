#pragma once

#include <torch/nn/module.h>
#include <torch/nn/pimpl.h>
#include <torch/types.h>

#include <cstdint>
#include <optional>

#include "mos/nn/linear.h"
#include "mos/nn/norm.h"

namespace mos::nn {

struct ResnetSize {
  std::int64_t in_channels = 0;
  std::int64_t out_channels = 0;
  std::int64_t groups = 32;
  double eps = 1e-5;
  std::optional<std::int64_t> time_channels;  ///< Width of the time embedding; empty in the VAE.
};

/// diffusers' `ResnetBlock2D` with the default time embedding (added after conv1).
class ResnetBlock2DImpl : public torch::nn::Module {
 public:
  explicit ResnetBlock2DImpl(const ResnetSize& size);
  /// x [B,I,H,W], time SiLU-activated time embedding [B,T] or undefined -> [B,O,H,W].
  torch::Tensor forward(const torch::Tensor& x, const torch::Tensor& activated_time = {});

 private:
  GroupNorm norm1_{nullptr}, norm2_{nullptr};
  Conv2d conv1_{nullptr}, conv2_{nullptr}, conv_shortcut_{nullptr};
  Linear time_emb_proj_{nullptr};
};
TORCH_MODULE(ResnetBlock2D);

enum class Downsampling {
  kSymmetric,   ///< U-Net: padding 1 on every side.
  kAsymmetric,  ///< VAE encoder: padding 1 on the right and at the bottom only.
};

/// Halves the resolution with a strided convolution. Parameters: conv.
class Downsample2DImpl : public torch::nn::Module {
 public:
  Downsample2DImpl(std::int64_t channels, Downsampling kind);
  torch::Tensor forward(const torch::Tensor& x);

 private:
  Downsampling kind_;
  Conv2d conv_{nullptr};
};
TORCH_MODULE(Downsample2D);

/// Nearest-neighbour enlargement to a given size and a convolution. Parameters: conv.
class Upsample2DImpl : public torch::nn::Module {
 public:
  explicit Upsample2DImpl(std::int64_t channels);
  /// x [B,C,H,W] -> [B,C,height,width].
  torch::Tensor forward(const torch::Tensor& x, std::int64_t height, std::int64_t width);

 private:
  Conv2d conv_{nullptr};
};
TORCH_MODULE(Upsample2D);

}  // namespace mos::nn
