#include "mos/nn/kernels/cuda/fused.h"

#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <torch/csrc/autograd/custom_function.h>

#include <cstdint>
#include <limits>

#include "mos/nn/kernels/bf16.h"
#include "mos/nn/kernels/cuda/launches.h"

namespace mos::nn::kernels::cuda {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::tensor_list;

/// Calls run(stream) with the device of `x` as the current one.
template <class Run>
void on_device_of(const torch::Tensor& x, const Run& run) {
  const c10::cuda::CUDAGuard guard(x.device());
  run(c10::cuda::getCurrentCUDAStream().stream());
  C10_CUDA_KERNEL_LAUNCH_CHECK();
}

Type type_of(const torch::Tensor& x) {
  switch (x.scalar_type()) {
    case at::kHalf:
      return Type::kHalf;
    case at::kBFloat16:
      return Type::kBfloat16;
    default:
      return Type::kFloat;
  }
}

bool is_half(const torch::Tensor& x) { return type_of(x) != Type::kFloat; }

/// Of the type and size that kernels read.
bool is_parameter(const torch::Tensor& parameter, int64_t size, const torch::Tensor& x) {
  return parameter.device() == x.device() && parameter.numel() == size &&
         (is_half(parameter) || parameter.scalar_type() == at::kFloat);
}

Parameter parameter_of(const torch::Tensor& x) { return {x.data_ptr(), type_of(x)}; }
Gradient gradient_of(const torch::Tensor& x) { return {x.data_ptr(), type_of(x)}; }

/// The dense tensor `x`, moved where its memory starts at less than 16 bytes.
torch::Tensor aligned(const torch::Tensor& x) {
  constexpr std::uintptr_t kAlignment = 16;
  return reinterpret_cast<std::uintptr_t>(x.data_ptr()) % kAlignment == 0 ? x : x.clone();
}

torch::Tensor rows_of(const torch::Tensor& x) { return aligned(x.contiguous()); }

float* floats(const torch::Tensor& x) { return x.data_ptr<float>(); }

torch::Tensor empty_floats(at::IntArrayRef sizes, const torch::Tensor& x) {
  return at::empty(sizes, x.options().dtype(at::kFloat));
}

/// Gradients of weight and bias, in their types, of sums [rows,2,width].
tensor_list parameter_gradients(const torch::Tensor& sums, const torch::Tensor& weight,
                                const torch::Tensor& bias) {
  const torch::Tensor weight_grad = at::empty_like(weight), bias_grad = at::empty_like(bias);
  on_device_of(sums, [&](Stream stream) {
    add_up(floats(sums), static_cast<int>(sums.size(0)), static_cast<int>(sums.size(2)),
           gradient_of(bias_grad), gradient_of(weight_grad), stream);
  });
  return {weight_grad, bias_grad};
}

/// Whether a dense tensor like x [B,C,...] is read as rows of channels.
bool has_channels_last(const torch::Tensor& x) {
  if (x.numel() == x.size(0) * x.size(1)) return true;
  if (x.is_contiguous()) return false;
  return x.suggest_memory_format() != at::MemoryFormat::Contiguous ||
         x.movedim(1, -1).is_contiguous();
}

/// `x` without gaps in the layout that it has or is near to.
torch::Tensor dense(const torch::Tensor& x) {
  return aligned(has_channels_last(x) ? x.movedim(1, -1).contiguous().movedim(-1, 1)
                                      : x.contiguous());
}

GroupNorm group_norm_of(const torch::Tensor& x, int64_t groups, const torch::Tensor& weight,
                        const torch::Tensor& bias) {
  const int64_t positions = x.numel() / (x.size(0) * x.size(1));
  return {.type = type_of(x),
          .batch = static_cast<int>(x.size(0)),
          .channels = static_cast<int>(x.size(1)),
          .positions = static_cast<int>(positions),
          .groups = static_cast<int>(groups),
          .channels_last = has_channels_last(x),
          .silu = false,
          .eps = 0,
          .weight = parameter_of(weight),
          .bias = parameter_of(bias)};
}

torch::Tensor scratch_of(const GroupNorm& norm, const torch::Tensor& x) {
  return empty_floats({static_cast<int64_t>(scratch_size(norm))}, x);
}

class GroupNormFunction : public torch::autograd::Function<GroupNormFunction> {
 public:
  static torch::Tensor forward(AutogradContext* context, const torch::Tensor& input,
                               const torch::Tensor& weight_in, const torch::Tensor& bias_in,
                               int64_t groups, double eps, bool silu) {
    const torch::Tensor x = dense(input);
    const torch::Tensor weight = weight_in.contiguous(), bias = bias_in.contiguous();
    GroupNorm norm = group_norm_of(x, groups, weight, bias);
    norm.silu = silu;
    norm.eps = static_cast<float>(eps);
    const torch::Tensor y = at::empty_like(x);
    const torch::Tensor statistics = empty_floats({2, x.size(0), groups}, x);
    const torch::Tensor scratch = scratch_of(norm, x);
    on_device_of(x, [&](Stream stream) {
      cuda::group_norm(norm, x.data_ptr(), y.data_ptr(), floats(statistics), floats(scratch),
                       stream);
    });
    context->save_for_backward({x, weight, bias, statistics});
    context->saved_data["silu"] = silu;
    return y;
  }

  static tensor_list backward(AutogradContext* context, const tensor_list& grads) {
    const auto saved = context->get_saved_variables();
    const torch::Tensor &x = saved[0], &weight = saved[1], &bias = saved[2];
    GroupNorm norm = group_norm_of(x, saved[3].size(2), weight, bias);
    norm.silu = context->saved_data["silu"].toBool();
    const torch::Tensor dy = aligned(laid_out_like(grads[0], x));
    const torch::Tensor dx = at::empty_like(x);
    const torch::Tensor sums = empty_floats({x.size(0), 2, x.size(1)}, x);
    const torch::Tensor scratch = scratch_of(norm, x);
    on_device_of(x, [&](Stream stream) {
      group_norm_backward(norm, x.data_ptr(), dy.data_ptr(), floats(saved[3]), dx.data_ptr(),
                          floats(sums), floats(scratch), stream);
    });
    if (!context->needs_input_grad(1) && !context->needs_input_grad(2)) {
      return {dx, {}, {}, {}, {}, {}};
    }
    const tensor_list parameters = parameter_gradients(sums, weight, bias);
    return {dx, parameters[0], parameters[1], {}, {}, {}};
  }
};

LayerNorm layer_norm_of(const torch::Tensor& x, const torch::Tensor& weight,
                        const torch::Tensor& bias, double eps) {
  return {.type = type_of(x),
          .rows = x.numel() / x.size(-1),
          .width = static_cast<int>(x.size(-1)),
          .eps = static_cast<float>(eps),
          .weight = parameter_of(weight),
          .bias = parameter_of(bias)};
}

class LayerNormFunction : public torch::autograd::Function<LayerNormFunction> {
 public:
  static torch::Tensor forward(AutogradContext* context, const torch::Tensor& input,
                               const torch::Tensor& weight_in, const torch::Tensor& bias_in,
                               double eps) {
    const torch::Tensor x = rows_of(input);
    const torch::Tensor weight = weight_in.contiguous(), bias = bias_in.contiguous();
    const LayerNorm norm = layer_norm_of(x, weight, bias, eps);
    const torch::Tensor y = at::empty_like(x);
    const torch::Tensor statistics = empty_floats({2, norm.rows}, x);
    on_device_of(x, [&](Stream stream) {
      cuda::layer_norm(norm, x.data_ptr(), y.data_ptr(), floats(statistics), stream);
    });
    context->save_for_backward({x, weight, bias, statistics});
    return y;
  }

  static tensor_list backward(AutogradContext* context, const tensor_list& grads) {
    const auto saved = context->get_saved_variables();
    const torch::Tensor &x = saved[0], &weight = saved[1], &bias = saved[2];
    const LayerNorm norm = layer_norm_of(x, weight, bias, /*eps=*/0);
    const torch::Tensor dy = rows_of(grads[0]), dx = at::empty_like(x);
    const bool weights_train = context->needs_input_grad(1) || context->needs_input_grad(2);
    const torch::Tensor sums = empty_floats({weights_train ? sum_rows(norm) : 0, 2, norm.width}, x);
    on_device_of(x, [&](Stream stream) {
      layer_norm_backward(norm, x.data_ptr(), dy.data_ptr(), floats(saved[3]), dx.data_ptr(),
                          weights_train ? floats(sums) : nullptr, stream);
    });
    if (!weights_train) return {dx, {}, {}, {}};
    const tensor_list parameters = parameter_gradients(sums, weight, bias);
    return {dx, parameters[0], parameters[1], {}};
  }
};

class GegluFunction : public torch::autograd::Function<GegluFunction> {
 public:
  static torch::Tensor forward(AutogradContext* context, const torch::Tensor& input) {
    const torch::Tensor x = rows_of(input);
    std::vector<int64_t> shape = x.sizes().vec();
    shape.back() /= 2;
    const torch::Tensor y = at::empty(shape, x.options());
    on_device_of(x, [&](Stream stream) {
      cuda::geglu(type_of(x), x.data_ptr(), y.data_ptr(), y.numel() / shape.back(),
                  static_cast<int>(shape.back()), stream);
    });
    context->save_for_backward({x});
    return y;
  }

  static tensor_list backward(AutogradContext* context, const tensor_list& grads) {
    const torch::Tensor x = context->get_saved_variables()[0];
    const torch::Tensor dy = rows_of(grads[0]), dx = at::empty_like(x);
    on_device_of(x, [&](Stream stream) {
      geglu_backward(type_of(x), x.data_ptr(), dy.data_ptr(), dx.data_ptr(),
                     dy.numel() / dy.size(-1), static_cast<int>(dy.size(-1)), stream);
    });
    return {dx};
  }
};

class PointwiseFunction : public torch::autograd::Function<PointwiseFunction> {
 public:
  static torch::Tensor forward(AutogradContext* context, const torch::Tensor& input,
                               int64_t which) {
    const torch::Tensor x =
        aligned(input.is_non_overlapping_and_dense() ? input : input.contiguous());
    const torch::Tensor y = at::empty_like(x);
    on_device_of(x, [&](Stream stream) {
      activate(static_cast<Pointwise>(which), type_of(x), x.data_ptr(), y.data_ptr(), x.numel(),
               stream);
    });
    context->save_for_backward({x});
    context->saved_data["which"] = which;
    return y;
  }

  static tensor_list backward(AutogradContext* context, const tensor_list& grads) {
    const torch::Tensor x = context->get_saved_variables()[0];
    const auto f = static_cast<Pointwise>(context->saved_data["which"].toInt());
    const torch::Tensor dy = aligned(laid_out_like(grads[0], x)), dx = at::empty_like(x);
    on_device_of(x, [&](Stream stream) {
      activate_backward(f, type_of(x), x.data_ptr(), dy.data_ptr(), dx.data_ptr(), x.numel(),
                        stream);
    });
    return {dx, {}};
  }
};

torch::Tensor pointwise(Pointwise f, const torch::Tensor& x) {
  return PointwiseFunction::apply(x, static_cast<int64_t>(f));
}

}  // namespace

bool pointwise_applies(const torch::Tensor& x) {
  return x.is_cuda() && is_half(x) && x.numel() > 0;
}

bool group_norm_applies(const torch::Tensor& x, int64_t groups, const torch::Tensor& weight,
                        const torch::Tensor& bias) {
  return pointwise_applies(x) && is_parameter(weight, x.size(1), x) &&
         is_parameter(bias, x.size(1), x) &&
         x.numel() / x.size(0) <= std::numeric_limits<int>::max() &&
         covers(group_norm_of(x, groups, weight, bias));
}

bool layer_norm_applies(const torch::Tensor& x, const torch::Tensor& weight,
                        const torch::Tensor& bias) {
  return pointwise_applies(x) && is_parameter(weight, x.size(-1), x) &&
         is_parameter(bias, x.size(-1), x) && covers(layer_norm_of(x, weight, bias, 0));
}

bool geglu_applies(const torch::Tensor& x) {
  return pointwise_applies(x) && x.size(-1) % (2 * kGegluStep) == 0;
}

torch::Tensor group_norm(const torch::Tensor& x, int64_t groups, const torch::Tensor& weight,
                         const torch::Tensor& bias, double eps, Activation activation) {
  return GroupNormFunction::apply(x, weight, bias, groups, eps, activation == Activation::kSilu);
}

torch::Tensor layer_norm(const torch::Tensor& x, const torch::Tensor& weight,
                         const torch::Tensor& bias, double eps) {
  return LayerNormFunction::apply(x, weight, bias, eps);
}

torch::Tensor geglu(const torch::Tensor& x) { return GegluFunction::apply(x); }

torch::Tensor silu(const torch::Tensor& x) { return pointwise(Pointwise::kSilu, x); }

torch::Tensor quick_gelu(const torch::Tensor& x) { return pointwise(Pointwise::kQuickGelu, x); }

torch::Tensor gelu(const torch::Tensor& x) { return pointwise(Pointwise::kGelu, x); }

}  // namespace mos::nn::kernels::cuda
