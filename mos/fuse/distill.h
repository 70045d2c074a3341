#pragma once

#include <torch/types.h>

#include <cstdint>
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
///     min over all ΔW of  Σ_i w_i E ‖ε(x, t, c_i; W0 + ΔW) − ε_i(x, t, c_i; W0 + ΔW_i)‖² ,
///
/// by gradient descent from the layer-wise solution, with x as the concept's own model meets it
/// when it paints the concept. The concepts' own models are all that is asked; no picture of a
/// client is needed.
namespace mos::fuse {

/// Who teaches, and how.
struct DistillInputs {
  /// The U-Net as the base model has it, without the updates; the text towers fused.
  const diffusion::Model& model;
  const concepts::ConceptTokens& tokens;
  std::span<const Lessons> lessons;           ///< By concept; who has none is not taught.
  std::span<const double> weights;            ///< By concept, how much each counts, from 0 on.
  torch::ScalarType dtype = torch::kFloat32;  ///< Of the network meanwhile; factors are float32.
  std::uint64_t seed = 0;                     ///< Of the order of lessons.
};

struct Distilled {
  concepts::LayerUpdates updates;
  std::vector<Distance> distances;  ///< Of the concepts that were taught.
};

/// `updates` of the U-Net with their pairs of factors trained; biases stay as they are. The same
/// updates where training was no gain, or there is nothing to train. Within, the network's weights
/// and what it trains are others. Throws mos::Error(kCancelled).
Distilled distill(const DistillInputs& inputs, const concepts::LayerUpdates& updates,
                  const DistillOptions& options, StageProgress& progress);

}  // namespace mos::fuse
