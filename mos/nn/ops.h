#pragma once

#include <torch/types.h>

#include <optional>

/// Numerics used by every network: one place that knows which of them ATen gets wrong or slow.
///
/// Each function is differentiable and takes float32, float64, bfloat16 or float16 on any device.
///   float32/64  exactly ATen's operator, so results match the reference implementation;
///   bfloat16    on a CPU with AVX-512: our own fused kernels (bfloat16 in and out, float32
///   inside); otherwise   ATen; reduced precision on a CPU is computed in float32 and rounded once
///   at the
///               end, because LibTorch 1.13 accumulates bfloat16 moments in bfloat16.
namespace mos::nn {

enum class Activation { kNone, kSilu };

/// Normalises over C/groups channels and all positions, then `activation`.
/// x [B,C,H,W] or [B,C,N], weight and bias [C] of any floating dtype; float32 statistics.
/// Returns x's shape, dtype and memory format.
torch::Tensor group_norm(const torch::Tensor& x, int64_t groups, const torch::Tensor& weight,
                         const torch::Tensor& bias, double eps,
                         Activation activation = Activation::kNone);

/// Normalises the last dimension: x [...,C], weight and bias [C] of any floating dtype.
torch::Tensor layer_norm(const torch::Tensor& x, const torch::Tensor& weight,
                         const torch::Tensor& bias, double eps);

/// Gated GELU: x [...,2D] -> first half * gelu(second half), [...,D].
torch::Tensor geglu(const torch::Tensor& x);

/// x * sigmoid(x). Callers write nn::silu and nn::gelu: ATen has functions of the same name, which
/// argument-dependent lookup finds for the unqualified ones.
torch::Tensor silu(const torch::Tensor& x);

/// x * sigmoid(1.702 x), the activation of OpenAI's CLIP.
torch::Tensor quick_gelu(const torch::Tensor& x);

/// x * Phi(x) with the exact error function.
torch::Tensor gelu(const torch::Tensor& x);

/// Added to a convolution's result, each undefined for none.
struct Summands {
  torch::Tensor per_sample;  ///< [B,O]: one number for all positions of a sample.
  torch::Tensor residual;    ///< Of the result's shape.
};

struct AttentionOptions {
  /// Factor on q k^T; 1/sqrt(D) unless given.
  std::optional<double> scale;
  /// Query i sees keys 0..i only.
  bool causal = false;
  /// Added to the scaled scores before the softmax, broadcastable to [B,H,N,M]; undefined for none.
  torch::Tensor mask;
  /// Queries are taken in chunks so that no score matrix is larger than this.
  int64_t max_score_bytes = int64_t{64} << 20;
};

/// Rows `rows` [n], int64, of x [B,N,C]: [B,n,C].
torch::Tensor take_rows(const torch::Tensor& x, const torch::Tensor& rows);

/// Σₖ weights[k,i] · x[b,rows[k,i]] for x [B,N,C], int64 rows and float32 weights, [K,n] each:
/// [B,n,C].
torch::Tensor weighted_rows(const torch::Tensor& x, const torch::Tensor& rows,
                            const torch::Tensor& weights);

/// softmax(scale q k^T + mask) v for q [B,H,N,D], k and v [B,H,M,D]; returns [B,H,N,D].
/// Any strides are welcome, so heads split by view and transpose need no copy before.
torch::Tensor attention(const torch::Tensor& q, const torch::Tensor& k, const torch::Tensor& v,
                        const AttentionOptions& options = {});

}  // namespace mos::nn
