#include "mos/nn/kernels/portable.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "mos/base/torch_compat.h"

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

/// Scores of one head that stay in cache between the two products; larger ones cost page faults
/// too, which is a third of a float32 U-Net step at 512x512.
constexpr int64_t kCachedBytes = int64_t{4} << 20;

int64_t chunk_of(int64_t queries, int64_t bytes_per_query, int64_t max_bytes) {
  return std::clamp<int64_t>(max_bytes / std::max<int64_t>(bytes_per_query, 1), 1,
                             std::max<int64_t>(queries, 1));
}

/// Scaled queries, transposed keys and values, with any leading dimensions.
struct Operands {
  torch::Tensor q;             // [...,N,D]
  torch::Tensor k_transposed;  // [...,D,M]
  torch::Tensor v;             // [...,M,D]
  torch::Tensor mask;          // [...,N,M] or undefined
  bool causal;

  Operands head(int64_t batch, int64_t head) const {
    const auto at = [&](const torch::Tensor& x) { return x.defined() ? x[batch][head] : x; };
    return {at(q), at(k_transposed), at(v), at(mask), causal};
  }
  int64_t queries() const { return q.size(-2); }
  int64_t keys() const { return v.size(-2); }
};

/// Attention of the queries begin..begin+count-1 as plain matrix products, [...,count,D].
torch::Tensor attend(const Operands& in, int64_t begin, int64_t count) {
  torch::Tensor scores = at::matmul(in.q.narrow(-2, begin, count), in.k_transposed);
  if (in.mask.defined()) scores = scores + in.mask.narrow(-2, begin, count);
  if (in.causal) {
    const auto index = torch::TensorOptions().dtype(at::kLong).device(in.q.device());
    const torch::Tensor row = at::arange(begin, begin + count, index).unsqueeze(1);
    const torch::Tensor hidden = at::arange(in.keys(), index).unsqueeze(0) > row;
    scores = scores.masked_fill(hidden, -std::numeric_limits<double>::infinity());
  }
  return at::matmul(at::softmax(scores, -1), in.v);
}

/// All heads together, differentiable.
torch::Tensor attend_batched(const Operands& in, int64_t max_bytes) {
  const int64_t bytes_per_query =
      in.q.size(0) * in.q.size(1) * in.keys() * static_cast<int64_t>(in.q.element_size());
  const int64_t step = chunk_of(in.queries(), bytes_per_query, max_bytes);
  std::vector<torch::Tensor> parts;
  for (int64_t begin = 0; begin < in.queries(); begin += step) {
    parts.push_back(attend(in, begin, std::min(step, in.queries() - begin)));
  }
  return parts.size() == 1 ? parts.front() : at::cat(parts, 2);
}

/// One head after the other, for inference.
torch::Tensor attend_by_head(const Operands& in, int64_t max_bytes) {
  const torch::Tensor out = at::empty(in.q.sizes(), in.q.options());
  const int64_t bytes_per_query = in.keys() * static_cast<int64_t>(in.q.element_size());
  const int64_t step = chunk_of(in.queries(), bytes_per_query, max_bytes);
  for (int64_t batch = 0; batch < in.q.size(0); ++batch) {
    for (int64_t head = 0; head < in.q.size(1); ++head) {
      const Operands one = in.head(batch, head);
      for (int64_t begin = 0; begin < in.queries(); begin += step) {
        const int64_t count = std::min(step, in.queries() - begin);
        out[batch][head].narrow(0, begin, count).copy_(attend(one, begin, count));
      }
    }
  }
  return out;
}

bool needs_gradient(const torch::Tensor& q, const torch::Tensor& k, const torch::Tensor& v,
                    const torch::Tensor& mask) {
  return at::GradMode::is_enabled() &&
         (q.requires_grad() || k.requires_grad() || v.requires_grad() ||
          (mask.defined() && mask.requires_grad()));
}

}  // namespace

torch::Tensor group_norm(const torch::Tensor& x, int64_t groups, const torch::Tensor& weight,
                         const torch::Tensor& bias, double eps, Activation activation) {
  // On a CPU with channels last, ATen 1.13 subtracts two large sums for the variance: at a mean of
  // 100 deviations float32 is wrong by 8 %. In the contiguous layout it does better.
  const at::MemoryFormat format = x.suggest_memory_format();
  const bool reorder = x.device().is_cpu() && format != at::MemoryFormat::Contiguous;
  return in_compute_dtype(x, [&](const torch::Tensor& wide) {
    const at::ScalarType dtype = wide.scalar_type();
    const torch::Tensor y = at::group_norm(reorder ? wide.contiguous() : wide, groups,
                                           weight.to(dtype), bias.to(dtype), eps);
    const torch::Tensor z = activation == Activation::kSilu ? at::silu(y) : y;
    return reorder ? z.contiguous(format) : z;
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
  const int64_t score_bytes =
      q.size(0) * q.size(1) * q.size(2) * k.size(2) * static_cast<int64_t>(q.element_size());
  torch::Tensor mask = options.mask;
  if (mask.defined()) {
    mask = mask.to(q.scalar_type()).expand({q.size(0), q.size(1), q.size(2), k.size(2)});
  }
  if constexpr (compat::kHasFusedAttention) {
    const bool both_masks = mask.defined() && options.causal;  // ATen takes one of them
    if (!q.device().is_cpu() && !both_masks) {
      // ATen scales by 1/sqrt(D).
      const torch::Tensor scaled = q * (scale * std::sqrt(static_cast<double>(q.size(3))));
      return compat::fused_attention(scaled, k, v, mask, options.causal);
    }
  }
  const Operands operands{q * scale, k.transpose(-2, -1), v, mask, options.causal};
  const int64_t cached_bytes = std::min(options.max_score_bytes, kCachedBytes);
  const bool by_head =
      q.device().is_cpu() && score_bytes > cached_bytes && !needs_gradient(q, k, v, mask);
  return by_head ? attend_by_head(operands, cached_bytes)
                 : attend_batched(operands, options.max_score_bytes);
}

}  // namespace mos::nn::kernels::portable
