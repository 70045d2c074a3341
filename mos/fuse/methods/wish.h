#pragma once

#include <span>

#include "mos/fuse/method.h"
#include "mos/fuse/solver.h"

namespace mos::fuse {

/// What the concepts want of the layer of `problem`, on the inputs that were recorded, each counted
/// by its weight. Required: there are inputs.
LayerWish wish_of(const LayerProblem& problem, std::span<const double> weights);

/// The update up · M of a wish that was solved; dense if a concept's is, whose identity would only
/// take room.
Merged merged_of(const LayerProblem& problem, const LayerWish& wish, const torch::Tensor& m);

}  // namespace mos::fuse
