#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "mos/base/torch_compat.h"
#include "mos/nn/kernels/bf16.h"
#include "mos/nn/kernels/portable.h"

namespace mos::nn::kernels::portable {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::tensor_list;

/// Scores of one head that stay in cache between the two products; larger ones cost page faults
/// too, which is a third of a float32 U-Net step at 512x512.
constexpr int64_t kCachedBytes = int64_t{4} << 20;

int64_t chunk_of(int64_t queries, int64_t bytes_per_query, int64_t max_bytes) {
  return std::clamp<int64_t>(max_bytes / std::max<int64_t>(bytes_per_query, 1), 1,
                             std::max<int64_t>(queries, 1));
}

/// Whether x is multiplied in float32: of float16 a CPU's ATen lacks the products, of bfloat16
/// those of a CPU without it take several times as long.
bool multiplies_wide(const torch::Tensor& x) {
  return (x.device().is_cpu() && x.scalar_type() == at::kHalf) || bfloat16_emulated(x);
}

torch::Tensor multiplied(const torch::Tensor& x) {
  return x.defined() && multiplies_wide(x) ? x.to(at::kFloat) : x;
}

int64_t bytes_of_score(const torch::Tensor& q) {
  return multiplies_wide(q) ? int64_t{sizeof(float)} : static_cast<int64_t>(q.element_size());
}

/// Queries, keys and values, with any leading dimensions.
struct Operands {
  torch::Tensor q;     // [...,N,D]
  torch::Tensor k;     // [...,M,D]
  torch::Tensor v;     // [...,M,D]
  torch::Tensor mask;  // [...,N,M] or undefined
  bool causal;
  double scale;  // of the queries

  /// As they are multiplied.
  Operands wide() const {
    return {multiplied(q), multiplied(k), multiplied(v), multiplied(mask), causal, scale};
  }
  Operands head(int64_t batch, int64_t head) const {
    const auto at = [&](const torch::Tensor& x) { return x.defined() ? x[batch][head] : x; };
    return Operands{at(q), at(k), at(v), at(mask), causal, scale}.wide();
  }
  torch::Tensor scaled(int64_t begin, int64_t count) const {
    return q.narrow(-2, begin, count) * scale;
  }
  int64_t queries() const { return q.size(-2); }
  int64_t keys() const { return k.size(-2); }
};

/// softmax(scale q k^T + mask) of the queries begin..begin+count-1, [...,count,M].
torch::Tensor probabilities(const Operands& in, int64_t begin, int64_t count) {
  torch::Tensor scores = at::matmul(in.scaled(begin, count), in.k.transpose(-2, -1));
  if (in.mask.defined()) scores = scores + in.mask.narrow(-2, begin, count);
  if (in.causal) {
    const auto index = torch::TensorOptions().dtype(at::kLong).device(in.q.device());
    const torch::Tensor row = at::arange(begin, begin + count, index).unsqueeze(1);
    const torch::Tensor hidden = at::arange(in.keys(), index).unsqueeze(0) > row;
    scores = scores.masked_fill(hidden, -std::numeric_limits<double>::infinity());
  }
  return at::softmax(scores, -1);
}

torch::Tensor attend(const Operands& in, int64_t begin, int64_t count) {
  return at::matmul(probabilities(in, begin, count), in.v);
}

/// All heads together, differentiable: autograd keeps the probabilities. `in` is wide().
torch::Tensor attend_batched(const Operands& in, int64_t max_bytes) {
  const int64_t bytes_per_query = in.q.size(0) * in.q.size(1) * in.keys() * bytes_of_score(in.q);
  const int64_t step = chunk_of(in.queries(), bytes_per_query, max_bytes);
  std::vector<torch::Tensor> parts;
  for (int64_t begin = 0; begin < in.queries(); begin += step) {
    parts.push_back(attend(in, begin, std::min(step, in.queries() - begin)));
  }
  return parts.size() == 1 ? parts.front() : at::cat(parts, 2);
}

/// Calls visit(batch, head, begin, count) for one head after the other, in chunks of queries whose
/// scores take at most max_bytes.
template <class Visit>
void for_each_chunk(const Operands& in, int64_t max_bytes, const Visit& visit) {
  const int64_t bytes_per_query = in.keys() * bytes_of_score(in.q);
  const int64_t step = chunk_of(in.queries(), bytes_per_query, max_bytes);
  for (int64_t batch = 0; batch < in.q.size(0); ++batch) {
    for (int64_t head = 0; head < in.q.size(1); ++head) {
      for (int64_t begin = 0; begin < in.queries(); begin += step) {
        visit(batch, head, begin, std::min(step, in.queries() - begin));
      }
    }
  }
}

/// What attention by head takes beside q, k and v; the mask, which may be undefined, is a constant.
struct ByHead {
  torch::Tensor mask;
  bool causal;
  double scale;
  int64_t max_bytes;
};

/// One head after the other. The backward pass computes the probabilities P anew, chunk by chunk:
/// one product more, but no score matrix is kept. Of O = P v with S = s q k^T + mask,
///     dv = P^T dO,   dS = softmax'(dO v^T),   dq = s dS k,   dk = dS^T s q.
class AttentionByHead : public torch::autograd::Function<AttentionByHead> {
 public:
  static torch::Tensor forward(AutogradContext* context, const torch::Tensor& q,
                               const torch::Tensor& k, const torch::Tensor& v, const ByHead& how) {
    context->save_for_backward({q, k, v, how.mask});
    context->saved_data["causal"] = how.causal;
    context->saved_data["scale"] = how.scale;
    context->saved_data["max_bytes"] = how.max_bytes;
    const Operands in{q, k, v, how.mask, how.causal, how.scale};
    const torch::Tensor out = at::empty(q.sizes(), q.options());
    const auto visit = [&](int64_t batch, int64_t head, int64_t begin, int64_t count) {
      out[batch][head].narrow(0, begin, count).copy_(attend(in.head(batch, head), begin, count));
    };
    for_each_chunk(in, how.max_bytes, visit);
    return out;
  }

  static tensor_list backward(AutogradContext* context, const tensor_list& grads) {
    const auto saved = context->get_saved_variables();
    const Operands in{saved[0],
                      saved[1],
                      saved[2],
                      saved[3],
                      context->saved_data["causal"].toBool(),
                      context->saved_data["scale"].toDouble()};
    // Every chunk adds to dk and dv, which bfloat16 would round each time.
    const auto sums = in.k.options().dtype(at::promote_types(in.k.scalar_type(), at::kFloat));
    const torch::Tensor dq = at::empty(in.q.sizes(), in.q.options());
    const torch::Tensor dk = at::zeros(in.k.sizes(), sums);
    const torch::Tensor dv = at::zeros(in.v.sizes(), sums);
    const auto visit = [&](int64_t batch, int64_t head, int64_t begin, int64_t count) {
      const Operands one = in.head(batch, head);
      const torch::Tensor p = probabilities(one, begin, count);
      const torch::Tensor d_out = multiplied(grads[0][batch][head].narrow(0, begin, count));
      const torch::Tensor d_scores =
          at::_softmax_backward_data(at::matmul(d_out, one.v.t()), p, -1, p.scalar_type());
      dq[batch][head].narrow(0, begin, count).copy_(at::matmul(d_scores, one.k) * in.scale);
      dk[batch][head].add_(at::matmul(d_scores.t(), one.scaled(begin, count)));
      dv[batch][head].add_(at::matmul(p.t(), d_out));
    };
    for_each_chunk(in, context->saved_data["max_bytes"].toInt(), visit);
    return {dq, dk.to(in.k.scalar_type()), dv.to(in.v.scalar_type()), {}};
  }
};

}  // namespace

torch::Tensor attention(const torch::Tensor& q, const torch::Tensor& k, const torch::Tensor& v,
                        double scale, const AttentionOptions& options) {
  const int64_t score_bytes = q.size(0) * q.size(1) * q.size(2) * k.size(2) * bytes_of_score(q);
  torch::Tensor mask = options.mask;
  if (mask.defined()) {
    mask = mask.to(q.scalar_type()).expand({q.size(0), q.size(1), q.size(2), k.size(2)});
  }
  if constexpr (compat::kHasFusedAttention) {
    const bool both_masks = mask.defined() && options.causal;  // ATen takes one of them
    if (!q.device().is_cpu() && !both_masks) {
      // ATen scales by 1/sqrt(D).
      const double factor = scale * std::sqrt(static_cast<double>(q.size(3)));
      const torch::Tensor scaled = std::abs(factor - 1.0) < 1e-9 ? q : q * factor;
      return compat::fused_attention(scaled, k, v, mask, options.causal);
    }
  }
  const Operands in{q, k, v, mask, options.causal, scale};
  const int64_t cached_bytes = std::min(options.max_score_bytes, kCachedBytes);
  const bool constant_mask = !(mask.defined() && mask.requires_grad());
  if (q.device().is_cpu() && score_bytes > cached_bytes && constant_mask) {
    return AttentionByHead::apply(q, k, v, ByHead{mask, options.causal, scale, cached_bytes});
  }
  return attend_batched(in.wide(), options.max_score_bytes).to(q.scalar_type());
}

}  // namespace mos::nn::kernels::portable
