#include "mos/nn/kernels/fused_attention.h"

#if defined(__x86_64__)

#include <ATen/Parallel.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>

#include "mos/nn/kernels/bf16.h"
#include "mos/nn/kernels/cpu_features.h"

namespace mos::nn::kernels::fused {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::tensor_list;

/// Queries of one task: enough to pay for the hand-over, few enough to balance threads.
constexpr int64_t kQueriesPerTask = 256;
/// Multiplications that make a task worth its hand-over to another thread.
constexpr int64_t kGrain = 1 << 20;

/// x [B,H,N,D] with D contiguous; any other strides do.
torch::Tensor with_whole_rows(const torch::Tensor& x) {
  return x.stride(3) == 1 ? x : x.contiguous();
}

/// [B,H,N,D], laid out as [B,N,H,D]: joining the heads of the result needs no copy.
torch::Tensor empty_heads(const torch::Tensor& like) {
  return at::empty({like.size(0), like.size(2), like.size(1), like.size(3)}, like.options())
      .transpose(1, 2);
}

uint16_t* head_start(const torch::Tensor& x, int64_t head) {
  return bits(x) + head / x.size(1) * x.stride(0) + head % x.size(1) * x.stride(1);
}

HeadRows rows(const torch::Tensor& x, int64_t head) { return {head_start(x, head), x.stride(2)}; }

HeadOutput output(const torch::Tensor& x, int64_t head) {
  return {head_start(x, head), x.stride(2)};
}

HeadShape shape_of(const torch::Tensor& q, const torch::Tensor& k, double scale, bool causal) {
  return {q.size(2), k.size(2), q.size(3), static_cast<float>(scale), causal};
}

const AttentionKernel& kernel_here() { return amx_available() ? kAmxAttention : kAvx512Attention; }

struct Result {
  torch::Tensor out;       // [B,H,N,D] bfloat16
  torch::Tensor log_sums;  // [B*H,N] float32
};

Result run_forward(const AttentionKernel& kernel, const torch::Tensor& q, const torch::Tensor& k,
                   const torch::Tensor& v, const HeadShape& shape) {
  const int64_t heads = q.size(0) * q.size(1);
  const Result result{empty_heads(q), at::empty({heads, shape.queries}, at::kFloat)};
  const int64_t tasks_per_head = (shape.queries + kQueriesPerTask - 1) / kQueriesPerTask;
  const int64_t task_work = std::min(shape.queries, kQueriesPerTask) * shape.keys * shape.width;
  const PackedSize size = kernel.packed_size(shape);
  at::parallel_for(
      0, heads * tasks_per_head, kGrain / task_work + 1, [&](int64_t begin, int64_t end) {
        const torch::Tensor packed = at::empty({size.keys + size.values}, at::kInt);
        auto* const keys = reinterpret_cast<uint32_t*>(packed.data_ptr<int32_t>());
        uint32_t* const values = keys + size.keys;
        for (int64_t task = begin; task < end; ++task) {
          const int64_t head = task / tasks_per_head;
          const int64_t first = task % tasks_per_head * kQueriesPerTask;
          // The tasks of a head follow each other, so it is packed once a thread at most.
          if (task == begin || first == 0) {
            kernel.pack(shape, rows(k, head), rows(v, head), keys, values);
          }
          kernel.forward(shape, rows(q, head), keys, values, first,
                         std::min(first + kQueriesPerTask, shape.queries), output(result.out, head),
                         result.log_sums.data_ptr<float>() + head * shape.queries);
        }
      });
  return result;
}

class AttentionFunction : public torch::autograd::Function<AttentionFunction> {
 public:
  static torch::Tensor forward(AutogradContext* context, const torch::Tensor& q_in,
                               const torch::Tensor& k_in, const torch::Tensor& v_in, double scale,
                               bool causal) {
    const torch::Tensor q = with_whole_rows(q_in);
    const torch::Tensor k = with_whole_rows(k_in);
    const torch::Tensor v = with_whole_rows(v_in);
    const Result result = run_forward(kernel_here(), q, k, v, shape_of(q, k, scale, causal));
    context->save_for_backward({q, k, v, result.out, result.log_sums});
    context->saved_data["scale"] = scale;
    context->saved_data["causal"] = causal;
    return result.out;
  }

  static tensor_list backward(AutogradContext* context, const tensor_list& grads) {
    const auto saved = context->get_saved_variables();
    const torch::Tensor &q = saved[0], &k = saved[1], &v = saved[2], &out = saved[3];
    const torch::Tensor d_out = with_whole_rows(grads[0]);
    const HeadShape shape = shape_of(q, k, context->saved_data["scale"].toDouble(),
                                     context->saved_data["causal"].toBool());
    const torch::Tensor dq = empty_heads(q);
    const torch::Tensor dk = empty_heads(k);
    const torch::Tensor dv = empty_heads(v);
    const AttentionKernel& kernel = kernel_here();
    const float* const log_sums = saved[4].data_ptr<float>();
    const int64_t head_work = shape.queries * shape.keys * shape.width;
    at::parallel_for(
        0, q.size(0) * q.size(1), kGrain / (2 * head_work) + 1, [&](int64_t begin, int64_t end) {
          const torch::Tensor workspace = at::empty({kernel.workspace(shape)}, at::kByte);
          for (int64_t head = begin; head < end; ++head) {
            kernel.backward(shape,
                            {rows(q, head), rows(k, head), rows(v, head), rows(out, head),
                             rows(d_out, head), log_sums + head * shape.queries, output(dq, head),
                             output(dk, head), output(dv, head)},
                            workspace.data_ptr());
          }
        });
    return {dq, dk, dv, {}, {}};
  }
};

bool is_cpu_bf16(const torch::Tensor& x) {
  return x.scalar_type() == at::kBFloat16 && x.device().is_cpu() && x.numel() > 0;
}

}  // namespace

bool attention_applies(const torch::Tensor& q, const torch::Tensor& k, const torch::Tensor& v,
                       double scale, const AttentionOptions& options) {
  return avx512_available() && is_cpu_bf16(q) && is_cpu_bf16(k) && is_cpu_bf16(v) &&
         q.size(3) % 2 == 0 && q.size(3) <= kMaxHeadWidth && scale > 0 && !options.mask.defined();
}

torch::Tensor attention(const torch::Tensor& q, const torch::Tensor& k, const torch::Tensor& v,
                        double scale, bool causal) {
  return AttentionFunction::apply(q, k, v, scale, causal);
}

torch::Tensor attention_forward(const AttentionKernel& kernel, const torch::Tensor& q,
                                const torch::Tensor& k, const torch::Tensor& v, double scale,
                                bool causal) {
  return run_forward(kernel, with_whole_rows(q), with_whole_rows(k), with_whole_rows(v),
                     shape_of(q, k, scale, causal))
      .out;
}

}  // namespace mos::nn::kernels::fused

#endif  // __x86_64__
