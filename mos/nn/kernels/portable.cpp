#include "mos/nn/kernels/portable.h"

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

/// `y`, whose gradient then reaches what made it in one piece: ATen 1.13's gelu takes its gradient
/// for contiguous whatever strides it has, and what comes out is garbage.
torch::Tensor with_whole_gradient(const torch::Tensor& y) {
  if (y.requires_grad()) y.register_hook([](const torch::Tensor& dy) { return dy.contiguous(); });
  return y;
}

}  // namespace

torch::Tensor group_norm(const torch::Tensor& x, int64_t groups, const torch::Tensor& weight,
                         const torch::Tensor& bias, double eps, Activation activation) {
  // On a CPU with channels last, ATen 1.13 subtracts two large sums for the variance: at a mean of
  // 100 deviations float32 is wrong by 8 %. In the contiguous layout it does better.
  const at::MemoryFormat format = x.suggest_memory_format();
  const at::MemoryFormat inside =
      x.device().is_cpu() ? at::MemoryFormat::Contiguous : at::MemoryFormat::Preserve;
  const auto turned = [](const torch::Tensor& from, at::ScalarType dtype, at::MemoryFormat to) {
    return from.to(dtype, /*non_blocking=*/false, /*copy=*/false, to);
  };
  // Widened and turned in one copy, each result in the place of the last: of a picture's features
  // every copy is hundreds of megabytes.
  const at::ScalarType dtype = compute_dtype(x);
  torch::Tensor y = turned(x, dtype, inside);
  y = at::group_norm(y, groups, weight.to(dtype), bias.to(dtype), eps);
  if (activation == Activation::kSilu) y = at::silu(y);
  // On a GPU ATen gives the contiguous layout whatever it is given, in which cuDNN's convolutions
  // turn their bfloat16 operands round each time: one turn here saves these.
  return turned(y, x.scalar_type(), format);
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
    return half[0] * with_whole_gradient(at::gelu(half[1]));
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
  return in_compute_dtype(
      x, [](const torch::Tensor& wide) { return with_whole_gradient(at::gelu(wide)); });
}

}  // namespace mos::nn::kernels::portable
