#include "mos/nn/convolution.h"

#include <torch/csrc/autograd/custom_function.h>

#include <array>

#include "mos/nn/kernels/bf16.h"

namespace mos::nn {
namespace {

using torch::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::tensor_list;

Tensor wide(const Tensor& x) { return x.to(torch::kFloat32); }

/// A tensor that has the sizes and the layout of the input, and no numbers.
Tensor shape_of_input(at::IntArrayRef sizes, const Tensor& dy) {
  return at::empty(sizes, dy.options(), dy.suggest_memory_format());
}

/// float32 inside, bfloat16 at its ends and in what it keeps.
class Float32Convolution : public torch::autograd::Function<Float32Convolution> {
 public:
  static Tensor forward(AutogradContext* context, const Tensor& x, const Tensor& weight,
                        const Tensor& bias, std::int64_t stride, std::int64_t padding) {
    // Of a frozen layer the gradient is that of the input, which depends on the weight alone.
    const bool learns = weight.requires_grad();
    context->save_for_backward({weight, learns ? x : at::empty({0}, x.options())});
    context->saved_data["sizes"] = x.sizes().vec();
    context->saved_data["stride"] = stride;
    context->saved_data["padding"] = padding;
    context->saved_data["has_bias"] = bias.numel() > 0;
    // Before what is only passing: behind that it would leave gaps in the heap.
    const auto side = [&](std::int64_t dim) {
      return (x.size(dim) + 2 * padding - weight.size(dim)) / stride + 1;
    };
    const Tensor y = at::empty({x.size(0), weight.size(0), side(2), side(3)}, x.options(),
                               x.suggest_memory_format());
    const auto wide_bias = bias.numel() > 0 ? wide(bias) : Tensor();
    return y.copy_(at::conv2d(wide(x), wide(weight), wide_bias, stride, padding));
  }

  static tensor_list backward(AutogradContext* context, const tensor_list& grads) {
    const auto saved = context->get_saved_variables();
    const auto& weight = saved[0];
    const auto number = [context](const char* name) { return context->saved_data[name].toInt(); };
    const bool wants_bias = context->saved_data["has_bias"].toBool() && needs(context, 2);
    const std::array wanted{needs(context, 0), needs(context, 1), wants_bias};
    const auto dy = wide(grads[0]);
    const auto x =
        wanted[1] ? wide(saved[1]) : shape_of_input(context->saved_data["sizes"].toIntVector(), dy);
    const at::IntArrayRef bias_sizes = weight.sizes().slice(0, 1);
    const std::array stride{number("stride"), number("stride")};
    const std::array padding{number("padding"), number("padding")};
    const auto [dx, d_weight, d_bias] = at::convolution_backward(
        dy, x, wide(weight), bias_sizes, stride, padding, /*dilation=*/{1, 1},
        /*transposed=*/false, /*output_padding=*/{0, 0}, /*groups=*/1, wanted);
    const auto narrow = [&weight](const Tensor& grad) {
      return grad.defined() ? grad.to(weight.scalar_type()) : grad;
    };
    return {narrow(dx), narrow(d_weight), narrow(d_bias), Tensor(), Tensor()};
  }

 private:
  static bool needs(AutogradContext* context, std::size_t input) {
    return context->needs_input_grad(input);
  }
};

}  // namespace

Tensor convolution(const Tensor& x, const Tensor& weight, const Tensor& bias, std::int64_t stride,
                   std::int64_t padding) {
  if (!kernels::bfloat16_emulated(x)) return at::conv2d(x, weight, bias, stride, padding);
  return Float32Convolution::apply(x, weight, kernels::or_empty(bias, x), stride, padding);
}

}  // namespace mos::nn
