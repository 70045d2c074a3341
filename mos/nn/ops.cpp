#include "mos/nn/ops.h"

#include <cmath>

#include "mos/nn/kernels/cpu_features.h"
#include "mos/nn/kernels/cuda/fused.h"
#include "mos/nn/kernels/fused.h"
#include "mos/nn/kernels/fused_attention.h"
#include "mos/nn/kernels/portable.h"
#include "mos/nn/kernels/rows.h"

namespace mos::nn {
namespace {

/// Kernels read memory by these sizes: a wrong one must not get there.
void check_attention(const torch::Tensor& q, const torch::Tensor& k, const torch::Tensor& v) {
  TORCH_CHECK(q.dim() == 4 && k.dim() == 4 && k.sizes() == v.sizes(),
              "attention expects q [B,H,N,D] and k, v [B,H,M,D], got ", q.sizes(), ", ", k.sizes(),
              ", ", v.sizes());
  TORCH_CHECK(q.size(0) == k.size(0) && q.size(1) == k.size(1) && q.size(3) == k.size(3),
              "attention: q ", q.sizes(), " and k ", k.sizes(), " differ in batch, heads or width");
}

bool has_gradient(const torch::Tensor& x) {
  return at::GradMode::is_enabled() && x.requires_grad();
}

// Where the fused kernels were not built they are not declared, either: hence `if constexpr`.
namespace cuda = kernels::cuda;
namespace fused = kernels::fused;
namespace portable = kernels::portable;
using cuda::kCudaKernelsBuilt;
using kernels::kFusedKernelsBuilt;

}  // namespace

torch::Tensor group_norm(const torch::Tensor& x, int64_t groups, const torch::Tensor& weight,
                         const torch::Tensor& bias, double eps, Activation activation) {
  TORCH_CHECK(x.dim() >= 2 && groups > 0 && x.size(1) % groups == 0, "group_norm: ", groups,
              " groups do not divide the channels of ", x.sizes());
  if constexpr (kFusedKernelsBuilt) {
    if (fused::applies(x)) return fused::group_norm(x, groups, weight, bias, eps, activation);
  }
  if constexpr (kCudaKernelsBuilt) {
    if (cuda::group_norm_applies(x, groups, weight, bias))
      return cuda::group_norm(x, groups, weight, bias, eps, activation);
  }
  return portable::group_norm(x, groups, weight, bias, eps, activation);
}

torch::Tensor layer_norm(const torch::Tensor& x, const torch::Tensor& weight,
                         const torch::Tensor& bias, double eps) {
  if constexpr (kFusedKernelsBuilt) {
    if (fused::applies(x)) return fused::layer_norm(x, weight, bias, eps);
  }
  if constexpr (kCudaKernelsBuilt) {
    if (cuda::layer_norm_applies(x, weight, bias)) return cuda::layer_norm(x, weight, bias, eps);
  }
  return portable::layer_norm(x, weight, bias, eps);
}

torch::Tensor geglu(const torch::Tensor& x) {
  TORCH_CHECK(x.size(-1) % 2 == 0, "geglu expects an even last dimension, got ", x.sizes());
  if constexpr (kFusedKernelsBuilt) {
    if (fused::applies(x)) return fused::geglu(x);
  }
  if constexpr (kCudaKernelsBuilt) {
    if (cuda::geglu_applies(x)) return cuda::geglu(x);
  }
  return portable::geglu(x);
}

torch::Tensor silu(const torch::Tensor& x) {
  if constexpr (kFusedKernelsBuilt) {
    if (fused::applies(x)) return fused::silu(x);
  }
  if constexpr (kCudaKernelsBuilt) {
    if (cuda::pointwise_applies(x)) return cuda::silu(x);
  }
  return portable::silu(x);
}

torch::Tensor quick_gelu(const torch::Tensor& x) {
  if constexpr (kFusedKernelsBuilt) {
    if (fused::applies(x)) return fused::quick_gelu(x);
  }
  if constexpr (kCudaKernelsBuilt) {
    if (cuda::pointwise_applies(x)) return cuda::quick_gelu(x);
  }
  return portable::quick_gelu(x);
}

torch::Tensor gelu(const torch::Tensor& x) {
  if constexpr (kFusedKernelsBuilt) {
    if (fused::applies(x)) return fused::gelu(x);
  }
  if constexpr (kCudaKernelsBuilt) {
    if (cuda::pointwise_applies(x)) return cuda::gelu(x);
  }
  return portable::gelu(x);
}

torch::Tensor take_rows(const torch::Tensor& x, const torch::Tensor& rows) {
  TORCH_CHECK(x.dim() == 3 && rows.dim() == 1 && rows.scalar_type() == at::kLong,
              "take_rows expects x [B,N,C] and int64 rows [n], got ", x.sizes(), " and ",
              rows.sizes());
  if (!x.device().is_cpu() || has_gradient(x)) return x.index_select(1, rows);
  return kernels::copy_rows(x.contiguous(), rows.contiguous());
}

torch::Tensor weighted_rows(const torch::Tensor& x, const torch::Tensor& rows,
                            const torch::Tensor& weights) {
  TORCH_CHECK(x.dim() == 3 && rows.dim() == 2 && rows.sizes() == weights.sizes() &&
                  rows.scalar_type() == at::kLong && weights.scalar_type() == at::kFloat,
              "weighted_rows expects x [B,N,C], int64 rows and float32 weights [K,n], got ",
              x.sizes(), ", ", rows.sizes(), " and ", weights.sizes());
  const bool has_kernel = x.scalar_type() == at::kFloat || x.scalar_type() == at::kBFloat16;
  if (x.device().is_cpu() && has_kernel && !has_gradient(x)) {
    return kernels::add_rows(x.contiguous(), rows.contiguous(), weights.contiguous());
  }
  const auto factors = weights.to(x.scalar_type()).unsqueeze(2);
  torch::Tensor sum = at::zeros({x.size(0), rows.size(1), x.size(2)}, x.options());
  for (int64_t k = 0; k < rows.size(0); ++k) {
    sum = sum.addcmul(x.index_select(1, rows[k]), factors[k]);
  }
  return sum;
}

torch::Tensor attention(const torch::Tensor& q, const torch::Tensor& k, const torch::Tensor& v,
                        const AttentionOptions& options) {
  check_attention(q, k, v);
  // Vaswani et al., equation 1.
  const double scale = options.scale.value_or(1.0 / std::sqrt(static_cast<double>(q.size(3))));
  if constexpr (kFusedKernelsBuilt) {
    if (fused::attention_applies(q, k, v, scale, options)) {
      return fused::attention(q, k, v, scale, options.causal);
    }
  }
  return portable::attention(q, k, v, scale, options);
}

}  // namespace mos::nn
