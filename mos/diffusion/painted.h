#pragma once

#include <torch/types.h>

namespace mos::diffusion {

/// Throws mos::Error(kMismatch) where a decoded picture holds NaN or infinity: no black picture is
/// taken for one that was painted.
void check_painted(const torch::Tensor& picture);

}  // namespace mos::diffusion
