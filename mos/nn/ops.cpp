#include "mos/nn/ops.h"

#include <cmath>

#include "mos/nn/kernels/cpu_features.h"
#include "mos/nn/kernels/fused.h"
#include "mos/nn/kernels/fused_attention.h"
#include "mos/nn/kernels/portable.h"

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

// Where the fused kernels were not built they are not declared, either: hence `if constexpr`.
namespace fused = kernels::fused;
namespace portable = kernels::portable;
using kernels::kFusedKernelsBuilt;

}  // namespace

torch::Tensor group_norm(const torch::Tensor& x, int64_t groups, const torch::Tensor& weight,
                         const torch::Tensor& bias, double eps, Activation activation) {
  TORCH_CHECK(x.dim() >= 2 && groups > 0 && x.size(1) % groups == 0, "group_norm: ", groups,
              " groups do not divide the channels of ", x.sizes());
  if constexpr (kFusedKernelsBuilt) {
    if (fused::applies(x)) return fused::group_norm(x, groups, weight, bias, eps, activation);
  }
  return portable::group_norm(x, groups, weight, bias, eps, activation);
}

torch::Tensor layer_norm(const torch::Tensor& x, const torch::Tensor& weight,
                         const torch::Tensor& bias, double eps) {
  if constexpr (kFusedKernelsBuilt) {
    if (fused::applies(x)) return fused::layer_norm(x, weight, bias, eps);
  }
  return portable::layer_norm(x, weight, bias, eps);
}

torch::Tensor geglu(const torch::Tensor& x) {
  TORCH_CHECK(x.size(-1) % 2 == 0, "geglu expects an even last dimension, got ", x.sizes());
  if constexpr (kFusedKernelsBuilt) {
    if (fused::applies(x)) return fused::geglu(x);
  }
  return portable::geglu(x);
}

torch::Tensor silu(const torch::Tensor& x) {
  if constexpr (kFusedKernelsBuilt) {
    if (fused::applies(x)) return fused::silu(x);
  }
  return portable::silu(x);
}

torch::Tensor quick_gelu(const torch::Tensor& x) {
  if constexpr (kFusedKernelsBuilt) {
    if (fused::applies(x)) return fused::quick_gelu(x);
  }
  return portable::quick_gelu(x);
}

torch::Tensor gelu(const torch::Tensor& x) {
  if constexpr (kFusedKernelsBuilt) {
    if (fused::applies(x)) return fused::gelu(x);
  }
  return portable::gelu(x);
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
