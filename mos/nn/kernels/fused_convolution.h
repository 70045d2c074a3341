#pragma once

#include "mos/nn/ops.h"

namespace mos::nn::kernels::fused {

/// Whether winograd_convolution() takes these arguments: bfloat16 on a CPU with avx512_available()
/// whose tiles, if it has any, are no faster (amx_available()), a 3x3 kernel and channels in
/// multiples of 16.
bool winograd_applies(const torch::Tensor& x, const torch::Tensor& weight);

/// The convolution with stride 1 and padding 1 and its summands as one autograd function, see
/// avx512_winograd.h. x [B,I,H,W], weight [O,I,3,3], bias [O] or undefined -> [B,O,H,W], channels
/// last.
torch::Tensor winograd_convolution(const torch::Tensor& x, const torch::Tensor& weight,
                                   const torch::Tensor& bias, const Summands& summands);

}  // namespace mos::nn::kernels::fused
