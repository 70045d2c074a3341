#include "mos/nn/resnet.h"

#include "mos/nn/ops.h"

namespace mos::nn {

using torch::Tensor;

ResnetBlock2DImpl::ResnetBlock2DImpl(const ResnetSize& size) {
  norm1_ = register_module("norm1", GroupNorm(size.groups, size.in_channels, size.eps));
  conv1_ = register_module("conv1", conv3x3(size.in_channels, size.out_channels));
  if (size.time_channels) {
    time_emb_proj_ =
        register_module("time_emb_proj", Linear(*size.time_channels, size.out_channels));
  }
  norm2_ = register_module("norm2", GroupNorm(size.groups, size.out_channels, size.eps));
  conv2_ = register_module("conv2", conv3x3(size.out_channels, size.out_channels));
  if (size.in_channels != size.out_channels) {
    conv_shortcut_ = register_module("conv_shortcut", conv1x1(size.in_channels, size.out_channels));
  }
}

Tensor ResnetBlock2DImpl::forward(const Tensor& x, const Tensor& activated_time) {
  // The kernels add this, and the residual below, while the result is in registers.
  Summands time;
  if (!time_emb_proj_.is_empty()) time.per_sample = time_emb_proj_(activated_time);
  auto y = norm2_(conv1_->forward(norm1_(x, Activation::kSilu), time), Activation::kSilu);
  // Either convolution can add the other path; with a shortcut it is the smaller one that is added
  // to.
  if (conv_shortcut_.is_empty()) return conv2_->forward(y, {.residual = x});
  y = conv2_(y);
  return conv_shortcut_->forward(x, {.residual = y});
}

Downsample2DImpl::Downsample2DImpl(std::int64_t channels, Downsampling kind) : kind_(kind) {
  conv_ = register_module(
      "conv", Conv2d(Conv2dOptions{.in_channels = channels,
                                   .out_channels = channels,
                                   .stride = 2,
                                   .padding = kind == Downsampling::kSymmetric ? 1 : 0}));
}

Tensor Downsample2DImpl::forward(const Tensor& x) {
  // diffusers' VAE pads the right and the bottom alone, as its TensorFlow ancestor did.
  return conv_(kind_ == Downsampling::kSymmetric ? x : torch::constant_pad_nd(x, {0, 1, 0, 1}));
}

Upsample2DImpl::Upsample2DImpl(std::int64_t channels) {
  conv_ = register_module("conv", conv3x3(channels, channels));
}

Tensor Upsample2DImpl::forward(const Tensor& x, std::int64_t height, std::int64_t width) {
  return conv_(torch::upsample_nearest2d(x, {height, width}));
}

}  // namespace mos::nn
