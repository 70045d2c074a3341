#include "mos/nn/kernels/fused_convolution.h"

#if defined(__x86_64__)

#include <ATen/Parallel.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>

#include "mos/nn/kernels/avx512_winograd.h"
#include "mos/nn/kernels/bf16.h"
#include "mos/nn/kernels/cpu_features.h"
#include "mos/nn/kernels/fused.h"

namespace mos::nn::kernels::fused {
namespace {

using avx512::ConvolutionShape;
using torch::autograd::AutogradContext;
using torch::autograd::tensor_list;

ConvolutionShape shape_of(const torch::Tensor& x, const torch::Tensor& weight) {
  return {x.size(0), x.size(2), x.size(3), weight.size(1), weight.size(0)};
}

torch::Tensor channels_last(const torch::Tensor& x) {
  return x.contiguous(at::MemoryFormat::ChannelsLast);
}

torch::Tensor packed_kernel(const torch::Tensor& weight, bool reversed) {
  const int64_t in = weight.size(1), out = weight.size(0);
  const torch::Tensor packed = at::empty({avx512::winograd_kernel_size(in, out)}, at::kInt);
  const torch::Tensor dense = weight.contiguous();
  const auto pack = reversed ? avx512::pack_winograd_kernel_reversed : avx512::pack_winograd_kernel;
  pack(bits(dense), in, out, words(packed));
  return packed;
}

/// [B,O,H,W], channels last.
torch::Tensor convolve(const ConvolutionShape& shape, const torch::Tensor& x,
                       const torch::Tensor& kernel, const avx512::ConvolutionSummands& summands) {
  const torch::Tensor y = at::empty({shape.samples, shape.out, shape.height, shape.width},
                                    x.options(), at::MemoryFormat::ChannelsLast);
  const int64_t group = avx512::winograd_group(shape.in, shape.out);
  const int64_t groups = (shape.tiles() + group - 1) / group;
  at::parallel_for(0, groups, 1, [&](int64_t begin, int64_t end) {
    const torch::Tensor workspace =
        at::empty({avx512::winograd_workspace(shape.in, shape.out)}, at::kByte);
    for (int64_t i = begin; i < end; ++i) {
      avx512::winograd_convolve(shape, bits(x), words(kernel), summands,
                                {i * group, std::min((i + 1) * group, shape.tiles())}, bits(y),
                                workspace.data_ptr());
    }
  });
  return y;
}

torch::Tensor weight_gradient(const ConvolutionShape& shape, const torch::Tensor& x,
                              const torch::Tensor& dy, const torch::Tensor& weight) {
  const int64_t group = avx512::winograd_group(shape.in, shape.out);
  const int64_t component = shape.in * shape.out;
  const torch::Tensor sums = at::empty({avx512::kWinogradComponents * component}, at::kFloat);
  const torch::Tensor patches =
      at::empty({avx512::kWinogradComponents * shape.in * group / 2}, at::kInt);
  const torch::Tensor gradients =
      at::empty({avx512::kWinogradComponents * shape.out * group / 2}, at::kInt);
  for (int64_t first = 0; first < shape.tiles(); first += group) {
    const avx512::TileRange tiles{first, std::min(first + group, shape.tiles())};
    avx512::winograd_gradient_inputs(shape, bits(x), bits(dy), tiles, words(patches),
                                     words(gradients));
    const auto how = first == 0 ? avx512::Accumulation::kSet : avx512::Accumulation::kAdd;
    at::parallel_for(0, avx512::kWinogradComponents, 1, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        avx512::add_winograd_gradient(shape, (tiles.count() + 1) / 2, words(patches),
                                      words(gradients), i, how, sums.data_ptr<float>());
      }
    });
  }
  const torch::Tensor dw = at::empty(weight.sizes(), weight.options());
  avx512::unpack_winograd_gradient(sums.data_ptr<float>(), shape.in, shape.out, bits(dw));
  return dw;
}

/// Sums over the positions of each sample, float32 [B,O].
torch::Tensor position_sums(const ConvolutionShape& shape, const torch::Tensor& dy) {
  const torch::Tensor sums = at::empty({shape.samples, shape.out}, at::kFloat);
  const int64_t positions = shape.height * shape.width;
  at::parallel_for(0, shape.samples, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      avx512::sum_rows(bits(dy) + i * positions * shape.out, positions, shape.out,
                       sums.data_ptr<float>() + i * shape.out);
    }
  });
  return sums;
}

const float* floats(const torch::Tensor& x) {
  return x.numel() > 0 ? x.data_ptr<float>() : nullptr;
}

class WinogradFunction : public torch::autograd::Function<WinogradFunction> {
 public:
  static torch::Tensor forward(AutogradContext* context, const torch::Tensor& input,
                               const torch::Tensor& weight, const torch::Tensor& bias,
                               const torch::Tensor& per_sample, const torch::Tensor& residual) {
    const torch::Tensor x = channels_last(input);
    const torch::Tensor wide_bias = wide(bias), wide_row = wide(per_sample);
    const bool adds = residual.numel() > 0;
    const torch::Tensor added = adds ? channels_last(residual) : residual;
    context->save_for_backward({x, weight});
    return convolve(shape_of(x, weight), x, packed_kernel(weight, /*reversed=*/false),
                    {floats(wide_bias), floats(wide_row), adds ? bits(added) : nullptr});
  }

  static tensor_list backward(AutogradContext* context, const tensor_list& grads) {
    const auto saved = context->get_saved_variables();
    const torch::Tensor &x = saved[0], &weight = saved[1];
    const torch::Tensor dy = channels_last(grads[0]);
    const ConvolutionShape shape = shape_of(x, weight);
    tensor_list result(5);
    if (context->needs_input_grad(0)) {
      result[0] = convolve(shape.reversed(), dy, packed_kernel(weight, /*reversed=*/true), {});
    }
    if (context->needs_input_grad(1)) result[1] = weight_gradient(shape, x, dy, weight);
    if (context->needs_input_grad(2) || context->needs_input_grad(3)) {
      const torch::Tensor sums = position_sums(shape, dy);
      if (context->needs_input_grad(2)) result[2] = sums.sum(0);
      if (context->needs_input_grad(3)) result[3] = sums;
    }
    if (context->needs_input_grad(4)) result[4] = dy;
    return result;
  }
};

}  // namespace

bool winograd_applies(const torch::Tensor& x, const torch::Tensor& weight) {
  return applies(x) && !amx_available() && weight.scalar_type() == at::kBFloat16 &&
         weight.size(2) == 3 && weight.size(3) == 3 &&
         weight.size(0) % avx512::kWinogradChannels == 0 &&
         weight.size(1) % avx512::kWinogradChannels == 0;
}

torch::Tensor winograd_convolution(const torch::Tensor& x, const torch::Tensor& weight,
                                   const torch::Tensor& bias, const Summands& summands) {
  return WinogradFunction::apply(x, weight, or_empty(bias, x), or_empty(summands.per_sample, x),
                                 or_empty(summands.residual, x));
}

}  // namespace mos::nn::kernels::fused

#endif  // __x86_64__
