#include "mos/nn/kernels/portable.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

namespace mos::nn::kernels::portable {
namespace {

/// The dtype in which ATen may compute `x`: reduced precision on a CPU goes through float32.
at::ScalarType compute_dtype(const torch::Tensor& x) {
  const at::ScalarType dtype = x.scalar_type();
  const bool reduced = dtype == at::kBFloat16 || dtype == at::kHalf;
  return x.device().is_cpu() && reduced ? at::kFloat : dtype;
}

/// Rounds the result of `op(x in its compute dtype)` to x's dtype.
template <class Op>
torch::Tensor in_compute_dtype(const torch::Tensor& x, const Op& op) {
  return op(x.to(compute_dtype(x))).to(x.scalar_type());
}

/// How many queries make a score matrix of at most `max_bytes`.
int64_t queries_per_chunk(const torch::Tensor& q, const torch::Tensor& k, int64_t max_bytes) {
  const int64_t bytes_per_query = q.size(0) * q.size(1) * k.size(2) * q.element_size();
  return std::clamp<int64_t>(max_bytes / std::max<int64_t>(bytes_per_query, 1), 1,
                             std::max<int64_t>(q.size(2), 1));
}

/// Attention of the queries `begin..begin+count` as plain matrix products.
torch::Tensor attend_chunk(const torch::Tensor& q, const torch::Tensor& k_transposed,
                           const torch::Tensor& v, const AttentionOptions& options, int64_t begin) {
  const int64_t count = q.size(2);
  const int64_t keys = v.size(2);
  torch::Tensor scores = at::matmul(q, k_transposed);  // [B,H,count,M]
  if (options.mask.defined()) {
    const torch::Tensor& mask = options.mask;
    const bool per_query = mask.dim() >= 2 && mask.size(-2) != 1;
    scores = scores + (per_query ? mask.narrow(-2, begin, count) : mask).to(scores.scalar_type());
  }
  if (options.causal) {
    const auto index = torch::TensorOptions().dtype(at::kLong).device(q.device());
    const torch::Tensor row = at::arange(begin, begin + count, index).unsqueeze(1);
    const torch::Tensor hidden = at::arange(keys, index).unsqueeze(0) > row;
    scores = scores.masked_fill(hidden, -std::numeric_limits<double>::infinity());
  }
  return at::matmul(at::softmax(scores, -1), v);
}

}  // namespace

torch::Tensor group_norm(const torch::Tensor& x, int64_t groups, const torch::Tensor& weight,
                         const torch::Tensor& bias, double eps, Activation activation) {
  return in_compute_dtype(x, [&](const torch::Tensor& wide) {
    const at::ScalarType dtype = wide.scalar_type();
    const torch::Tensor y = at::group_norm(wide, groups, weight.to(dtype), bias.to(dtype), eps);
    return activation == Activation::kSilu ? at::silu(y) : y;
  });
}

torch::Tensor layer_norm(const torch::Tensor& x, const torch::Tensor& weight,
                         const torch::Tensor& bias, double eps) {
  return in_compute_dtype(x, [&](const torch::Tensor& wide) {
    const at::ScalarType dtype = wide.scalar_type();
    return at::layer_norm(wide, {wide.size(-1)}, weight.to(dtype), bias.to(dtype), eps);
  });
}

torch::Tensor geglu(const torch::Tensor& x) {
  return in_compute_dtype(x, [](const torch::Tensor& wide) {
    const std::vector<torch::Tensor> half = wide.chunk(2, -1);
    return half[0] * at::gelu(half[1]);
  });
}

torch::Tensor silu(const torch::Tensor& x) {
  return in_compute_dtype(x, [](const torch::Tensor& wide) { return at::silu(wide); });
}

torch::Tensor quick_gelu(const torch::Tensor& x) {
  return in_compute_dtype(
      x, [](const torch::Tensor& wide) { return wide * at::sigmoid(wide * 1.702); });
}

torch::Tensor gelu(const torch::Tensor& x) {
  return in_compute_dtype(x, [](const torch::Tensor& wide) { return at::gelu(wide); });
}

torch::Tensor attention(const torch::Tensor& q, const torch::Tensor& k, const torch::Tensor& v,
                        double scale, const AttentionOptions& options) {
  if (q.device().is_cpu() && q.scalar_type() == at::kHalf) {  // ATen lacks the products
    return attention(q.to(at::kFloat), k.to(at::kFloat), v.to(at::kFloat), scale, options)
        .to(at::kHalf);
  }
  const torch::Tensor scaled = q * scale;
  const torch::Tensor k_transposed = k.transpose(-2, -1);
  const int64_t queries = q.size(2);
  const int64_t step = queries_per_chunk(q, k, options.max_score_bytes);
  std::vector<torch::Tensor> parts;
  for (int64_t begin = 0; begin < queries; begin += step) {
    const int64_t count = std::min(step, queries - begin);
    parts.push_back(attend_chunk(scaled.narrow(2, begin, count), k_transposed, v, options, begin));
  }
  return parts.size() == 1 ? parts.front() : at::cat(parts, 2);
}

}  // namespace mos::nn::kernels::portable
