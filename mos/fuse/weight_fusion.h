#pragma once

#include <span>

#include "mos/fuse/solver.h"

namespace mos::fuse {

/// One layer of weight fusion (the paper's Eq. 2): W = W0 + Σ w_i ΔW_i, as a LoRA with the
/// concepts' factors side by side. `weights` has one w_i for each update; empty updates count for
/// nothing. Float64.
LowRankUpdate weighted_sum(std::span<const LowRankUpdate> updates, std::span<const double> weights);

/// Fractions of one for n concepts: the given ones divided by their sum, or 1/n each if none are
/// given. Throws mos::Error(kUsage) unless there are n of them, none negative, with a sum above 0.
std::vector<double> normalized_weights(std::span<const double> weights, std::size_t concepts);

}  // namespace mos::fuse
