#pragma once

#include <torch/types.h>

#include <cstdint>

namespace mos::nn {

/// The convolution of x [B,I,H,W] with weight [O,I,k,k] and bias [O] or undefined, all of x's dtype
/// -> [B,O,H',W'], in x's memory format.
///
/// bfloat16 on a CPU that has no arithmetic for it (kernels::bfloat16_emulated()) is convolved in
/// float32 and rounded once, values and gradients: what ATen's libraries do there instead takes
/// four times as long. Nothing in float32 is kept for the backward pass.
torch::Tensor convolution(const torch::Tensor& x, const torch::Tensor& weight,
                          const torch::Tensor& bias, std::int64_t stride, std::int64_t padding);

}  // namespace mos::nn
