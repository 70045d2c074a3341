#pragma once

#include <torch/nn/module.h>
#include <torch/nn/pimpl.h>
#include <torch/types.h>

#include <cstdint>
#include <functional>
#include <string>

#include "mos/nn/conventions.h"
#include "mos/nn/ops.h"

namespace mos::nn {

/// `tensor` in the dtype of `reference`; the same tensor when it has that dtype already.
torch::Tensor cast_like(const torch::Tensor& tensor, const torch::Tensor& reference);

/// What a network with weights like `weight` computes in: their dtype, but float32 for float16 on a
/// CPU, which can only keep such numbers.
torch::ScalarType working_dtype(const torch::Tensor& weight);

/// One factor of a LoRA pair, so that its key in a file is `<layer>.lora_down.weight`.
class LoraFactorImpl : public torch::nn::Module {
 public:
  explicit LoraFactorImpl(const torch::Tensor& initial);
  torch::Tensor weight;
};
TORCH_MODULE(LoraFactor);

/// Which code computes a layer.
enum class Engine {
  kLibTorch,
  /// kernels/fused_linear.h and fused_convolution.h where they apply, LibTorch elsewhere: a third
  /// less time for the training of small bfloat16 networks on a CPU, with results that differ in
  /// the last bits.
  kFused,
};

/// The seams of every linear layer and convolution: an attachable low-rank update (tuning), an
/// observer of its inputs (fusion), and what is added at some positions alone (regions). A
/// convolution with a k×k kernel is linear in its patches: I then counts the numbers of one patch,
/// channels · k · k.
class LoraLayer : public torch::nn::Module {
 public:
  torch::Tensor weight;  ///< [O,I], or [O,channels,k,k] of a convolution.
  torch::Tensor bias;    ///< [O], undefined when the layer has none.

  /// Factor on the low-rank update, the authors' alpha: a plain multiplier.
  double lora_scale = 1.0;

  /// Sees every input with the features last, [..., I], before the layer is applied: of a
  /// convolution one row for each place of the kernel.
  std::function<void(const torch::Tensor&)> input_observer;

  /// Gives the output in the place of y, for input x: of a linear layer x [...,I] and y [...,O], of
  /// a convolution x [B,I,H,W] and y [B,O,H',W']. Summands are in y. Empty: y it is.
  std::function<torch::Tensor(const torch::Tensor& x, const torch::Tensor& y)> output_change;

  Engine engine = Engine::kLibTorch;

  /// Registers `lora_down` [r,I] and `lora_up` [O,r] (for a convolution [r,channels,k,k] and
  /// [O,r,1,1]) as trainable children that alias the given tensors.
  /// Throws kMismatch if the shapes do not fit this layer.
  void attach_lora(const torch::Tensor& down, const torch::Tensor& up);
  void detach_lora();
  bool has_lora() const { return !lora_down_.is_empty(); }
  LoraFactor& lora_down() { return lora_down_; }
  const LoraFactor& lora_down() const { return lora_down_; }
  LoraFactor& lora_up() { return lora_up_; }
  const LoraFactor& lora_up() const { return lora_up_; }

  std::int64_t in_features() const { return weight.numel() / weight.size(0); }
  std::int64_t out_features() const { return weight.size(0); }
  /// A kernel larger than 1×1, whose inputs overlap.
  bool reads_patches() const { return in_features() != weight.size(1); }

 protected:
  /// The low-rank path for rows x [..., I]: lora_scale · up · down · x, [..., O].
  torch::Tensor lora_path(const torch::Tensor& rows) const;

 private:
  LoraFactor lora_down_{nullptr}, lora_up_{nullptr};
};

enum class Bias { kNone, kLearned };

/// y = x Wᵀ + b over the last dimension. Weights start uninitialised: they come from a file.
class LinearImpl : public LoraLayer {
 public:
  LinearImpl(std::int64_t in_features, std::int64_t out_features, Bias bias = Bias::kLearned);
  /// x [..., I] -> [..., O], with `residual` [..., O] added unless it is undefined.
  torch::Tensor forward(const torch::Tensor& x, const torch::Tensor& residual = {});

 private:
  torch::Tensor transform(const torch::Tensor& x, const torch::Tensor& residual) const;
  bool runs_fused(const torch::Tensor& x) const;
};
TORCH_MODULE(Linear);

struct Conv2dOptions {
  std::int64_t in_channels = 0;
  std::int64_t out_channels = 0;
  std::int64_t kernel_size = 3;
  std::int64_t stride = 1;
  std::int64_t padding = 1;
  Bias bias = Bias::kLearned;
};

/// 2-D convolution.
class Conv2dImpl : public LoraLayer {
 public:
  explicit Conv2dImpl(const Conv2dOptions& options);
  /// x [B,I,H,W] -> [B,O,H',W'], in x's memory format, with the summands added.
  torch::Tensor forward(const torch::Tensor& x, const Summands& summands = {});

  std::int64_t stride() const { return stride_; }
  std::int64_t padding() const { return padding_; }

 private:
  bool runs_fused(const torch::Tensor& x) const;
  torch::Tensor forward_fused(const torch::Tensor& x, const Summands& summands) const;
  /// Convolution and low-rank update without summands.
  torch::Tensor convolve(const torch::Tensor& x) const;
  /// x [B,channels,H,W] -> [B,H'·W',I], the numbers that each place of the kernel covers.
  torch::Tensor patches(const torch::Tensor& x) const;

  std::int64_t stride_;
  std::int64_t padding_;
};
TORCH_MODULE(Conv2d);

/// A 1×1 convolution, parameters [O,I,1,1].
Conv2d conv1x1(std::int64_t in_channels, std::int64_t out_channels);
/// 3×3 with a border of one: the size stays, or is halved, rounding up, with a stride of two.
Conv2d conv3x3(std::int64_t in_channels, std::int64_t out_channels, std::int64_t stride = 1);

/// Sets the engine of every Linear and every convolution below `root`.
void use_engine(torch::nn::Module& root, Engine engine);

/// Visits every Linear and every convolution below `root` with its dotted name, in registration
/// order.
void for_each_lora_layer(torch::nn::Module& root,
                         const std::function<void(const std::string&, LoraLayer&)>& visit);

}  // namespace mos::nn
