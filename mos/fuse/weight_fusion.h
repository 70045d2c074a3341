#pragma once

#include <span>

#include "mos/fuse/method.h"

namespace mos::fuse {

/// Σ w_i ΔW_i: a LoRA with the concepts' factors side by side, or dense if one of them is.
/// `weights` has one w_i for each update; empty updates count for nothing.
Update weighted_sum(std::span<const Update> updates, std::span<const double> weights);

/// One layer of weight fusion (the paper's Eq. 2), W = W0 + Σ w_i ΔW_i with the problem's weights
/// as fractions of one: for layers where a method lacks the inputs that it needs.
Merged weight_fusion(const LayerProblem& problem);

}  // namespace mos::fuse
