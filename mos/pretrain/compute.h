#pragma once

#include <torch/types.h>

namespace mos::pretrain {

/// What networks compute in while they are trained and measured. Their trained weights are float32:
/// a step of the optimiser is often smaller than what bfloat16 tells apart.
inline constexpr auto kCompute = torch::kBFloat16;

}  // namespace mos::pretrain
