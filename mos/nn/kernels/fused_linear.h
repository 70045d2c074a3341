#pragma once

#include <torch/types.h>

namespace mos::nn::kernels::fused {

/// Whether linear() takes these arguments: bfloat16 on a CPU with avx512_available() whose tiles,
/// if it has any, are no faster (amx_available()), and widths in multiples of 16.
bool linear_applies(const torch::Tensor& x, const torch::Tensor& weight);

/// x [...,I] w^T + bias + residual as one autograd function, see avx512_linear.h. weight [O,I];
/// bias [O] and residual [...,O] may be undefined. Returns [...,O].
torch::Tensor linear(const torch::Tensor& x, const torch::Tensor& weight, const torch::Tensor& bias,
                     const torch::Tensor& residual);

}  // namespace mos::nn::kernels::fused
