#include <ATen/Parallel.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>

#include "mos/nn/kernels/avx512_activation.h"
#include "mos/nn/kernels/avx512_norm.h"
#include "mos/nn/kernels/bf16.h"
#include "mos/nn/kernels/cpu_features.h"
#include "mos/nn/kernels/fused.h"

namespace mos::nn::kernels::fused {

bool applies(const torch::Tensor& x) {
  return x.scalar_type() == at::kBFloat16 && x.device().is_cpu() && x.numel() > 0 &&
         avx512_available();
}

#if defined(__x86_64__)
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::tensor_list;

/// Elements (of about a nanosecond each) that make a task worth its hand-over to another thread.
constexpr int64_t kGrain = 32768;

class PointwiseFunction : public torch::autograd::Function<PointwiseFunction> {
 public:
  static torch::Tensor forward(AutogradContext* context, const torch::Tensor& input,
                               int64_t which) {
    const torch::Tensor x = input.is_non_overlapping_and_dense() ? input : input.contiguous();
    const torch::Tensor y = at::empty_like(x);
    const auto f = static_cast<avx512::Pointwise>(which);
    at::parallel_for(0, x.numel(), kGrain, [&](int64_t begin, int64_t end) {
      avx512::activate(f, bits(x) + begin, bits(y) + begin, end - begin);
    });
    context->save_for_backward({x});
    context->saved_data["which"] = which;
    return y;
  }

  static tensor_list backward(AutogradContext* context, const tensor_list& grads) {
    const torch::Tensor x = context->get_saved_variables()[0];
    const auto f = static_cast<avx512::Pointwise>(context->saved_data["which"].toInt());
    const torch::Tensor dy = laid_out_like(grads[0], x);
    const torch::Tensor dx = at::empty_like(x);
    at::parallel_for(0, x.numel(), kGrain, [&](int64_t begin, int64_t end) {
      avx512::activate_backward(f, bits(x) + begin, bits(dy) + begin, bits(dx) + begin,
                                end - begin);
    });
    return {dx, {}};
  }
};

class GegluFunction : public torch::autograd::Function<GegluFunction> {
 public:
  static torch::Tensor forward(AutogradContext* context, const torch::Tensor& input) {
    const torch::Tensor x = input.contiguous();
    const int64_t width = x.size(-1) / 2;
    std::vector<int64_t> shape = x.sizes().vec();
    shape.back() = width;
    const torch::Tensor y = at::empty(shape, x.options());
    at::parallel_for(0, y.numel() / width, kGrain / width + 1, [&](int64_t begin, int64_t end) {
      avx512::geglu(bits(x) + begin * 2 * width, bits(y) + begin * width, end - begin, width);
    });
    context->save_for_backward({x});
    return y;
  }

  static tensor_list backward(AutogradContext* context, const tensor_list& grads) {
    const torch::Tensor x = context->get_saved_variables()[0];
    const torch::Tensor dy = grads[0].contiguous();
    const torch::Tensor dx = at::empty_like(x);
    const int64_t width = x.size(-1) / 2;
    at::parallel_for(0, dy.numel() / width, kGrain / width + 1, [&](int64_t begin, int64_t end) {
      avx512::geglu_backward(bits(x) + begin * 2 * width, bits(dy) + begin * width,
                             bits(dx) + begin * 2 * width, end - begin, width);
    });
    return {dx};
  }
};

torch::Tensor pointwise(avx512::Pointwise f, const torch::Tensor& x) {
  return PointwiseFunction::apply(x, static_cast<int64_t>(f));
}

avx512::LayerNorm layer_norm_of(const torch::Tensor& weight, const torch::Tensor& bias,
                                double eps) {
  return {weight.numel(), static_cast<float>(eps), weight.data_ptr<float>(),
          bias.data_ptr<float>()};
}

class LayerNormFunction : public torch::autograd::Function<LayerNormFunction> {
 public:
  static torch::Tensor forward(AutogradContext* context, const torch::Tensor& input,
                               const torch::Tensor& weight, const torch::Tensor& bias, double eps) {
    const torch::Tensor x = input.contiguous();
    const avx512::LayerNorm norm = layer_norm_of(weight, bias, eps);
    const int64_t rows = x.numel() / norm.width;
    const torch::Tensor statistics = at::empty({2, rows}, weight.options());
    float* const mean = statistics.data_ptr<float>();
    const torch::Tensor y = at::empty_like(x);
    at::parallel_for(0, rows, kGrain / norm.width + 1, [&](int64_t begin, int64_t end) {
      avx512::layer_norm(norm, bits(x) + begin * norm.width, end - begin,
                         bits(y) + begin * norm.width, mean + begin, mean + rows + begin);
    });
    context->save_for_backward({x, weight, bias, statistics});
    return y;
  }

  static tensor_list backward(AutogradContext* context, const tensor_list& grads) {
    const auto saved = context->get_saved_variables();
    const torch::Tensor& x = saved[0];
    const avx512::LayerNorm norm = layer_norm_of(saved[1], saved[2], /*eps=*/0);
    const int64_t rows = x.numel() / norm.width;
    const float* const mean = saved[3].data_ptr<float>();
    const torch::Tensor dy = grads[0].contiguous();
    const torch::Tensor dx = at::empty_like(x);

    // Blocks of rows have their own sums, so threads never share one and the order is fixed.
    const int64_t block = std::max<int64_t>(kGrain / norm.width, 64);
    const int64_t blocks = (rows + block - 1) / block;
    const bool weights_train = context->needs_input_grad(1) || context->needs_input_grad(2);
    const torch::Tensor sums =
        at::zeros({2, weights_train ? blocks : 0, norm.width}, saved[1].options());
    at::parallel_for(0, blocks, 1, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const int64_t row = i * block;
        const int64_t at = row * norm.width;
        float* const sum = weights_train ? sums.data_ptr<float>() + i * norm.width : nullptr;
        avx512::layer_norm_backward(norm, bits(x) + at, bits(dy) + at, mean + row,
                                    mean + rows + row, std::min(block, rows - row), bits(dx) + at,
                                    sum, sum == nullptr ? sum : sum + blocks * norm.width);
      }
    });
    if (!weights_train) return {dx, {}, {}, {}};
    const torch::Tensor totals = sums.sum(1);
    return {dx, totals[0], totals[1], {}};
  }
};

}  // namespace

torch::Tensor layer_norm(const torch::Tensor& x, const torch::Tensor& weight,
                         const torch::Tensor& bias, double eps) {
  return LayerNormFunction::apply(x, wide(weight), wide(bias), eps);
}

torch::Tensor geglu(const torch::Tensor& x) { return GegluFunction::apply(x); }

torch::Tensor silu(const torch::Tensor& x) { return pointwise(avx512::Pointwise::kSilu, x); }

torch::Tensor quick_gelu(const torch::Tensor& x) {
  return pointwise(avx512::Pointwise::kQuickGelu, x);
}

torch::Tensor gelu(const torch::Tensor& x) { return pointwise(avx512::Pointwise::kGelu, x); }

#endif  // __x86_64__

}  // namespace mos::nn::kernels::fused
