#pragma once

#include <torch/types.h>

#include <span>
#include <vector>

#include "mos/concepts/concept_delta.h"
#include "mos/concepts/tokens.h"
#include "mos/diffusion/model.h"
#include "mos/fuse/distance.h"
#include "mos/fuse/distill_options.h"
#include "mos/fuse/lessons.h"
#include "mos/fuse/progress.h"

/// The end of a fusion, as one network. Layer by layer each weight does what it can alone; what is
/// left over adds up from layer to layer, and one layer can make up for another only if all are
/// looked at together:
///
///     min over all ΔW of  Σ_i E ‖ε(x, t, c_i; W0 + ΔW) − ε_i(x, t, c_i; W0 + ΔW_i)‖² ,
///
/// by gradient descent from the layer-wise solution, with x as the concept's own model meets it
/// when it paints the concept. The concepts' own models are all that is asked; no picture of a
/// client is needed.
namespace mos::fuse {

/// Trains the low-rank pairs of `updates`, those of the U-Net, in place; other updates stay as they
/// are. Required: the U-Net has none of them in its weights, and the text towers are fused.
/// `lessons` and `weights` (how much each counts, from 0 on) are by concept. Leaves the updates as
/// they were if that is no gain. The network computes in `dtype`.
/// Returns a distance for each concept. Throws mos::Error(kCancelled).
std::vector<Distance> distill(const diffusion::Model& model, const concepts::ConceptTokens& tokens,
                              std::span<const Lessons> lessons, std::span<const double> weights,
                              concepts::LayerUpdates& updates, const DistillOptions& options,
                              torch::ScalarType dtype, StageProgress& progress);

}  // namespace mos::fuse
