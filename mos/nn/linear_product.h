#pragma once

#include <torch/types.h>

namespace mos::nn {

/// x [...,I] w^T + bias -> [...,O]: weight [O,I] and bias [O] or undefined, all of x's dtype.
///
/// bfloat16 on a CPU that has no arithmetic for it (kernels::bfloat16_emulated()) is multiplied in
/// float32 and rounded once, values and gradients, a few rows at a time: what ATen's libraries do
/// there instead takes several times as long. Nothing in float32 is kept for the backward pass.
torch::Tensor linear_product(const torch::Tensor& x, const torch::Tensor& weight,
                             const torch::Tensor& bias = {});

}  // namespace mos::nn
