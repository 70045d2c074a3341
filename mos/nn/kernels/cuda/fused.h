#pragma once

#include "mos/nn/ops.h"

/// The operators of mos/nn/ops.h on bfloat16 and float16 CUDA tensors through our own kernels, as
/// autograd functions: float32 inside, one rounding at the end, and only the inputs and the
/// statistics are kept for the backward pass. Gradients of gradients are not provided.
namespace mos::nn::kernels::cuda {

/// Whether the kernels are part of this build at all.
#if defined(MOS_CUDA_KERNELS)
inline constexpr bool kCudaKernelsBuilt = true;
#else
inline constexpr bool kCudaKernelsBuilt = false;
#endif

/// Whether the functions below take such arguments; where not, ATen does.
bool group_norm_applies(const torch::Tensor& x, int64_t groups, const torch::Tensor& weight,
                        const torch::Tensor& bias);
bool layer_norm_applies(const torch::Tensor& x, const torch::Tensor& weight,
                        const torch::Tensor& bias);
bool geglu_applies(const torch::Tensor& x);
bool pointwise_applies(const torch::Tensor& x);

torch::Tensor group_norm(const torch::Tensor& x, int64_t groups, const torch::Tensor& weight,
                         const torch::Tensor& bias, double eps, Activation activation);
torch::Tensor layer_norm(const torch::Tensor& x, const torch::Tensor& weight,
                         const torch::Tensor& bias, double eps);
torch::Tensor geglu(const torch::Tensor& x);
torch::Tensor silu(const torch::Tensor& x);
torch::Tensor quick_gelu(const torch::Tensor& x);
torch::Tensor gelu(const torch::Tensor& x);

}  // namespace mos::nn::kernels::cuda
