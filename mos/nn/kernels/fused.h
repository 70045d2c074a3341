#pragma once

#include "mos/nn/ops.h"

/// The operators of mos/nn/ops.h on bfloat16 CPU tensors through the avx512_* kernels, as autograd
/// functions: float32 inside, one rounding at the end, and only the inputs and the statistics are
/// kept for the backward pass. Gradients of gradients are not provided.
namespace mos::nn::kernels::fused {

/// Whether these functions take `x`: bfloat16, on the CPU, not empty, avx512_available().
bool applies(const torch::Tensor& x);

torch::Tensor group_norm(const torch::Tensor& x, int64_t groups, const torch::Tensor& weight,
                         const torch::Tensor& bias, double eps, Activation activation);
torch::Tensor layer_norm(const torch::Tensor& x, const torch::Tensor& weight,
                         const torch::Tensor& bias, double eps);
torch::Tensor geglu(const torch::Tensor& x);
torch::Tensor silu(const torch::Tensor& x);
torch::Tensor quick_gelu(const torch::Tensor& x);
torch::Tensor gelu(const torch::Tensor& x);

}  // namespace mos::nn::kernels::fused
