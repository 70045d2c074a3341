#include "mos/nn/linear.h"

#include <fmt/ranges.h>

#include <algorithm>

#include "mos/base/error.h"
#include "mos/nn/convolution.h"
#include "mos/nn/kernels/cpu_features.h"
#include "mos/nn/kernels/fused_convolution.h"
#include "mos/nn/kernels/fused_linear.h"
#include "mos/nn/linear_product.h"
#include "mos/nn/parameter.h"

namespace mos::nn {

using kernels::kFusedKernelsBuilt;
using torch::Tensor;

Tensor cast_like(const Tensor& tensor, const Tensor& reference) {
  return tensor.scalar_type() == reference.scalar_type() ? tensor
                                                         : tensor.to(reference.scalar_type());
}

torch::ScalarType working_dtype(const Tensor& weight) {
  // ATen of LibTorch 1.13 has no float16 matrix product on a CPU, and later ones a slow one.
  const bool only_kept = weight.device().is_cpu() && weight.scalar_type() == torch::kHalf;
  return only_kept ? torch::kFloat32 : weight.scalar_type();
}

LoraFactorImpl::LoraFactorImpl(const Tensor& initial)
    : weight(register_parameter("weight", initial)) {}

void LoraLayer::attach_lora(const Tensor& down, const Tensor& up) {
  const auto of_rank = [](at::IntArrayRef like, std::size_t place, std::int64_t rank) {
    auto shape = like.vec();
    shape[place] = rank;
    return shape;
  };
  const auto rank = down.dim() > 0 ? down.size(0) : 0;
  auto up_shape = of_rank(weight.sizes(), 1, rank);
  std::fill(up_shape.begin() + 2, up_shape.end(), 1);
  // As the weight with r in the place of O, and of I: the one of the two that reads keeps the
  // kernel, the other is 1×1.
  const bool fits = down.sizes() == of_rank(weight.sizes(), 0, rank) && up.sizes() == up_shape;
  if (!fits) {
    throw Error(ErrorKind::kMismatch,
                fmt::format("a LoRA with down {} and up {} does not fit a layer with weight {}",
                            fmt::join(down.sizes(), "x"), fmt::join(up.sizes(), "x"),
                            fmt::join(weight.sizes(), "x")));
  }
  detach_lora();
  lora_down_ = register_module("lora_down", LoraFactor(down));
  lora_up_ = register_module("lora_up", LoraFactor(up));
}

void LoraLayer::detach_lora() {
  if (!has_lora()) return;
  unregister_module("lora_down");
  unregister_module("lora_up");
  lora_down_ = nullptr;
  lora_up_ = nullptr;
}

Tensor LoraLayer::lora_path(const Tensor& rows) const {
  const auto down = cast_like(lora_down_->weight.flatten(1), rows);
  const auto up = cast_like(lora_up_->weight.flatten(1), rows);
  // Two thin products; up · down would be a matrix as large as the weight.
  return linear_product(linear_product(rows, down), up) * lora_scale;
}

void use_engine(torch::nn::Module& root, Engine engine) {
  for_each_lora_layer(root,
                      [engine](const std::string&, LoraLayer& layer) { layer.engine = engine; });
}

LinearImpl::LinearImpl(std::int64_t in_features, std::int64_t out_features, Bias with_bias) {
  weight = register_parameter("weight", new_parameter({out_features, in_features}));
  if (with_bias == Bias::kLearned) bias = register_parameter("bias", new_parameter({out_features}));
}

bool LinearImpl::runs_fused(const Tensor& x) const {
  if constexpr (kFusedKernelsBuilt) {
    // With LoRA the pair would be added outside anyway, and gradients of its factors are ATen's.
    return engine == Engine::kFused && !has_lora() && kernels::fused::linear_applies(x, weight);
  }
  return false;
}

Tensor LinearImpl::forward(const Tensor& x, const Tensor& residual) {
  // Before the layer is applied: an observer may count on the weights not having been asked yet.
  if (input_observer) input_observer(x);
  const auto y = transform(x, residual);
  return output_change ? output_change(x, y) : y;
}

Tensor LinearImpl::transform(const Tensor& x, const Tensor& residual) const {
  if constexpr (kFusedKernelsBuilt) {
    if (runs_fused(x)) return kernels::fused::linear(x, weight, bias, residual);
  }
  auto y = linear_product(x, cast_like(weight, x), bias.defined() ? cast_like(bias, x) : bias);
  if (has_lora()) y = y + lora_path(x);
  return residual.defined() ? y + residual : y;
}

namespace {

Tensor add_summands(Tensor y, const Summands& summands) {
  if (summands.per_sample.defined()) y = y + summands.per_sample.unsqueeze(-1).unsqueeze(-1);
  return summands.residual.defined() ? y + summands.residual : y;
}

}  // namespace

Conv2dImpl::Conv2dImpl(const Conv2dOptions& options)
    : stride_(options.stride), padding_(options.padding) {
  weight = register_parameter("weight", new_parameter({options.out_channels, options.in_channels,
                                                       options.kernel_size, options.kernel_size}));
  if (options.bias == Bias::kLearned) {
    bias = register_parameter("bias", new_parameter({options.out_channels}));
  }
}

Tensor Conv2dImpl::patches(const Tensor& x) const {
  if (!reads_patches()) return x.permute({0, 2, 3, 1});  // a view for channels-last features
  const auto kernel = weight.sizes().slice(2);
  return at::im2col(x, kernel, /*dilation=*/{1, 1}, {padding_, padding_}, {stride_, stride_})
      .transpose(1, 2);
}

bool Conv2dImpl::runs_fused(const Tensor& x) const {
  if constexpr (kFusedKernelsBuilt) {
    // Winograd's transforms are for stride 1.
    if (engine != Engine::kFused || has_lora() || stride_ != 1) return false;
    return reads_patches() ? padding_ == 1 && kernels::fused::winograd_applies(x, weight)
                           : padding_ == 0 && kernels::fused::linear_applies(x, weight);
  }
  return false;
}

Tensor Conv2dImpl::forward_fused(const Tensor& x, const Summands& summands) const {
  if constexpr (kFusedKernelsBuilt) {
    if (reads_patches()) return kernels::fused::winograd_convolution(x, weight, bias, summands);
    if (!summands.per_sample.defined()) {
      const auto rows = [](const Tensor& y) { return y.defined() ? y.permute({0, 2, 3, 1}) : y; };
      return kernels::fused::linear(rows(x), weight.flatten(1), bias, rows(summands.residual))
          .permute({0, 3, 1, 2});
    }
  }
  return add_summands(convolve(x), summands);
}

Tensor Conv2dImpl::convolve(const Tensor& x) const {
  const auto y = convolution(x, cast_like(weight, x), bias.defined() ? cast_like(bias, x) : bias,
                             stride_, padding_);
  if (!has_lora()) return y;
  if (!reads_patches()) return y + lora_path(patches(x)).permute({0, 3, 1, 2});
  const auto narrow = convolution(x, cast_like(lora_down()->weight, x), {}, stride_, padding_);
  const auto update = convolution(narrow, cast_like(lora_up()->weight, x), {}, 1, 0);
  return y + update * lora_scale;
}

Tensor Conv2dImpl::forward(const Tensor& x, const Summands& summands) {
  if (input_observer) input_observer(patches(x));
  const auto y = runs_fused(x) ? forward_fused(x, summands) : add_summands(convolve(x), summands);
  return output_change ? output_change(x, y) : y;
}

Conv2d conv1x1(std::int64_t in_channels, std::int64_t out_channels) {
  return Conv2d(Conv2dOptions{
      .in_channels = in_channels, .out_channels = out_channels, .kernel_size = 1, .padding = 0});
}

Conv2d conv3x3(std::int64_t in_channels, std::int64_t out_channels, std::int64_t stride) {
  return Conv2d(
      Conv2dOptions{.in_channels = in_channels, .out_channels = out_channels, .stride = stride});
}

void for_each_lora_layer(torch::nn::Module& root,
                         const std::function<void(const std::string&, LoraLayer&)>& visit) {
  for (const auto& item : root.named_modules(std::string(), /*include_self=*/false)) {
    // The factors below a layer are modules too, but none of this kind.
    auto* layer = dynamic_cast<LoraLayer*>(item.value().get());
    if (layer != nullptr) visit(item.key(), *layer);
  }
}

}  // namespace mos::nn
