#include "mos/nn/kernels/fused_linear.h"

#if defined(__x86_64__)

#include <ATen/Parallel.h>
#include <torch/csrc/autograd/custom_function.h>

#include "mos/nn/kernels/avx512_linear.h"
#include "mos/nn/kernels/bf16.h"
#include "mos/nn/kernels/cpu_features.h"
#include "mos/nn/kernels/fused.h"

namespace mos::nn::kernels::fused {
namespace {

using avx512::LinearShape;
using torch::autograd::AutogradContext;
using torch::autograd::tensor_list;

/// Multiplications that make a task worth its hand-over to another thread.
constexpr int64_t kGrain = 1 << 20;

LinearShape shape_of(const torch::Tensor& weight) { return {weight.size(1), weight.size(0)}; }

int64_t rows_of(const torch::Tensor& x) { return x.numel() / x.size(-1); }

torch::Tensor packed(const torch::Tensor& weight, bool reversed) {
  const torch::Tensor dense = weight.contiguous();
  const torch::Tensor result = at::empty({weight.numel() / 2}, at::kInt);
  const auto pack = reversed ? avx512::pack_linear_reversed : avx512::pack_linear;
  pack(shape_of(weight), bits(dense), words(result));
  return result;
}

torch::Tensor multiply(const LinearShape& shape, const torch::Tensor& x,
                       const torch::Tensor& kernel, const avx512::LinearSummands& summands) {
  std::vector<int64_t> sizes = x.sizes().vec();
  sizes.back() = shape.out;
  const torch::Tensor y = at::empty(sizes, x.options());
  const int64_t grain = kGrain / shape.weights() + 1;
  at::parallel_for(0, rows_of(x), grain, [&](int64_t begin, int64_t end) {
    auto mine = summands;
    if (mine.residual != nullptr) mine.residual += begin * shape.out;
    avx512::linear_rows(shape, bits(x) + begin * shape.in, words(kernel), mine, end - begin,
                        bits(y) + begin * shape.out);
  });
  return y;
}

/// Gradients of weight and bias, float32.
struct Gradients {
  torch::Tensor weight, bias;
};

/// The sum over the rows is one task, in blocks of a fixed size: the same for any number of
/// threads.
Gradients gradients(const LinearShape& shape, const torch::Tensor& x, const torch::Tensor& dy,
                    bool wants_bias) {
  const Gradients result{at::zeros({shape.out, shape.in}, at::kFloat),
                         at::zeros({wants_bias ? shape.out : 0}, at::kFloat)};
  const torch::Tensor workspace = at::empty({avx512::linear_gradient_workspace(shape)}, at::kInt);
  avx512::linear_gradient(shape, bits(x), bits(dy), rows_of(x), result.weight.data_ptr<float>(),
                          wants_bias ? result.bias.data_ptr<float>() : nullptr, words(workspace));
  return result;
}

torch::Tensor rounded(const torch::Tensor& x) {
  const torch::Tensor result = at::empty(x.sizes(), at::kBFloat16);
  avx512::round_values(x.data_ptr<float>(), x.numel(), bits(result));
  return result;
}

class LinearFunction : public torch::autograd::Function<LinearFunction> {
 public:
  static torch::Tensor forward(AutogradContext* context, const torch::Tensor& input,
                               const torch::Tensor& weight, const torch::Tensor& bias,
                               const torch::Tensor& residual) {
    const torch::Tensor x = input.contiguous(), wide_bias = wide(bias);
    const torch::Tensor added = residual.contiguous();
    context->save_for_backward({x, weight});
    return multiply(shape_of(weight), x, packed(weight, /*reversed=*/false),
                    {bias.numel() > 0 ? wide_bias.data_ptr<float>() : nullptr,
                     residual.numel() > 0 ? bits(added) : nullptr});
  }

  static tensor_list backward(AutogradContext* context, const tensor_list& grads) {
    const auto saved = context->get_saved_variables();
    const torch::Tensor &x = saved[0], &weight = saved[1];
    const torch::Tensor dy = grads[0].contiguous();
    const LinearShape shape = shape_of(weight);
    tensor_list result(4);
    if (context->needs_input_grad(0)) {
      result[0] = multiply(shape.reversed(), dy, packed(weight, /*reversed=*/true), {});
    }
    const bool wants_bias = context->needs_input_grad(2);
    if (context->needs_input_grad(1) || wants_bias) {
      const Gradients sums = gradients(shape, x, dy, wants_bias);
      result[1] = rounded(sums.weight);
      if (wants_bias) result[2] = rounded(sums.bias);
    }
    if (context->needs_input_grad(3)) result[3] = dy;
    return result;
  }
};

}  // namespace

bool linear_applies(const torch::Tensor& x, const torch::Tensor& weight) {
  return applies(x) && !amx_available() && weight.scalar_type() == at::kBFloat16 &&
         weight.size(0) % avx512::kLinearWidth == 0 && weight.size(1) % avx512::kLinearWidth == 0;
}

torch::Tensor linear(const torch::Tensor& x, const torch::Tensor& weight, const torch::Tensor& bias,
                     const torch::Tensor& residual) {
  return LinearFunction::apply(x, weight, or_empty(bias, x), or_empty(residual, x));
}

}  // namespace mos::nn::kernels::fused

#endif  // __x86_64__
