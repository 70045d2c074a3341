#pragma once

#include "mos/nn/kernels/attention_kernels.h"
#include "mos/nn/ops.h"

namespace mos::nn::kernels::fused {

/// Whether attention() takes these arguments: bfloat16 on a CPU with avx512_available(), an even
/// head width up to kMaxHeadWidth, a positive scale and no additive mask.
bool attention_applies(const torch::Tensor& q, const torch::Tensor& k, const torch::Tensor& v,
                       double scale, const AttentionOptions& options);

/// mos::nn::attention as one autograd function; the backward pass recomputes the probabilities
/// from q, k and one number a query. The result is a permuted view of [B,N,H,D].
torch::Tensor attention(const torch::Tensor& q, const torch::Tensor& k, const torch::Tensor& v,
                        double scale, bool causal);

/// The forward pass alone on a given kernel, for tests and benchmarks.
torch::Tensor attention_forward(const AttentionKernel& kernel, const torch::Tensor& q,
                                const torch::Tensor& k, const torch::Tensor& v, double scale,
                                bool causal);

}  // namespace mos::nn::kernels::fused
