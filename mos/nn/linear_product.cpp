#include "mos/nn/linear_product.h"

#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <cstdint>

#include "mos/nn/kernels/bf16.h"

namespace mos::nn {
namespace {

using torch::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::tensor_list;

/// What rows in float32, those that go in and those that come out, may take at a time.
constexpr std::int64_t kPassingBytes = std::int64_t{16} << 20;

Tensor as_rows(const Tensor& x) { return x.reshape({-1, x.size(-1)}); }

/// Calls visit(begin, count) for all rows of a layer with this weight, some at a time: how many
/// depends on sizes alone, so that sums are the same for any number of threads.
template <class Visit>
void for_some_rows(std::int64_t rows, const Tensor& weight, const Visit& visit) {
  const auto row_bytes = (weight.size(0) + weight.size(1)) * std::int64_t{sizeof(float)};
  const auto step = std::max<std::int64_t>(kPassingBytes / std::max<std::int64_t>(row_bytes, 1), 1);
  for (std::int64_t begin = 0; begin < rows; begin += step) {
    visit(begin, std::min(step, rows - begin));
  }
}

/// Puts product(rows of `from` in float32) into the rows `to`, some at a time.
template <class Product>
void put_products(const Tensor& from, const Tensor& weight, const Tensor& to,
                  const Product& product) {
  for_some_rows(from.size(0), weight, [&](std::int64_t begin, std::int64_t count) {
    to.narrow(0, begin, count).copy_(product(kernels::wide(from.narrow(0, begin, count))));
  });
}

/// float32 inside, bfloat16 at its ends and in what it keeps.
class Float32Linear : public torch::autograd::Function<Float32Linear> {
 public:
  static Tensor forward(AutogradContext* context, const Tensor& x, const Tensor& weight,
                        const Tensor& bias) {
    // Of a frozen layer the gradient is that of the input, which depends on the weight alone.
    context->save_for_backward({weight, weight.requires_grad() ? x : at::empty({0}, x.options())});
    context->saved_data["has_bias"] = bias.numel() > 0;
    auto sizes = x.sizes().vec();
    sizes.back() = weight.size(0);
    const auto y = at::empty(sizes, x.options());
    const auto wide_weight = kernels::wide(weight);
    const auto wide_bias = bias.numel() > 0 ? kernels::wide(bias) : Tensor();
    put_products(as_rows(x), weight, y.view({-1, weight.size(0)}),
                 [&](const Tensor& some) { return at::linear(some, wide_weight, wide_bias); });
    return y;
  }

  static tensor_list backward(AutogradContext* context, const tensor_list& grads) {
    const auto saved = context->get_saved_variables();
    const auto& weight = saved[0];
    const auto dy = as_rows(grads[0]);
    tensor_list result(3);
    if (context->needs_input_grad(0)) {
      auto sizes = grads[0].sizes().vec();
      sizes.back() = weight.size(1);
      result[0] = of_input(dy, weight).view(sizes);
    }
    if (context->needs_input_grad(1)) result[1] = of_weight(dy, as_rows(saved[1]), weight);
    if (context->saved_data["has_bias"].toBool() && context->needs_input_grad(2)) {
      result[2] = dy.sum(0, /*keepdim=*/false, at::kFloat).to(dy.scalar_type());
    }
    return result;
  }

 private:
  static Tensor of_input(const Tensor& dy, const Tensor& weight) {
    const auto dx = at::empty({dy.size(0), weight.size(1)}, dy.options());
    const auto wide_weight = kernels::wide(weight);
    put_products(dy, weight, dx, [&](const Tensor& some) { return at::mm(some, wide_weight); });
    return dx;
  }

  static Tensor of_weight(const Tensor& dy, const Tensor& x, const Tensor& weight) {
    const auto sum = at::zeros(weight.sizes(), weight.options().dtype(at::kFloat));
    for_some_rows(dy.size(0), weight, [&](std::int64_t begin, std::int64_t count) {
      sum.addmm_(kernels::wide(dy.narrow(0, begin, count)).t(),
                 kernels::wide(x.narrow(0, begin, count)));
    });
    return sum.to(weight.scalar_type());
  }
};

}  // namespace

Tensor linear_product(const Tensor& x, const Tensor& weight, const Tensor& bias) {
  if (!kernels::bfloat16_emulated(x)) return torch::linear(x, weight, bias);
  return Float32Linear::apply(x, weight, kernels::or_empty(bias, x));
}

}  // namespace mos::nn
