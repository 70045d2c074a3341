#pragma once

#include "mos/nn/ops.h"

/// The operators of mos/nn/ops.h as compositions of ATen's, for any device and dtype. Their
/// arguments are already checked. bfloat16 and float16 on a CPU are computed in float32.
namespace mos::nn::kernels::portable {

torch::Tensor group_norm(const torch::Tensor& x, int64_t groups, const torch::Tensor& weight,
                         const torch::Tensor& bias, double eps, Activation activation);
torch::Tensor layer_norm(const torch::Tensor& x, const torch::Tensor& weight,
                         const torch::Tensor& bias, double eps);
torch::Tensor geglu(const torch::Tensor& x);
torch::Tensor silu(const torch::Tensor& x);
torch::Tensor quick_gelu(const torch::Tensor& x);
torch::Tensor gelu(const torch::Tensor& x);

/// Takes the queries in chunks of at most options.max_score_bytes of scores.
torch::Tensor attention(const torch::Tensor& q, const torch::Tensor& k, const torch::Tensor& v,
                        double scale, const AttentionOptions& options);

}  // namespace mos::nn::kernels::portable
