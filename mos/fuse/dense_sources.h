#pragma once

#include <span>
#include <vector>

#include "mos/diffusion/pipeline.h"
#include "mos/fuse/fuse_concepts.h"

/// Concepts whose updates are no pairs of factors (LoHa, LoKr, DoRA, full differences), for methods
/// that take pairs: before them and behind them.
namespace mos::fuse {

/// `sources` with every update as a pair of float32 factors, the same to float32's precision; those
/// of ordinary LoRA are aliased. DoRA is that of the model's present weights. Changes of biases are
/// left out: inputs are recorded without them. Required: every update fits its layer.
std::vector<ConceptSource> factored_sources(diffusion::StableDiffusion& model,
                                            const std::vector<ConceptSource>& sources);

/// Behind a fusion of factored_sources(sources) that has written `fused` into `model`. Layers that
/// any source has in another form than a pair become full differences, the same numbers: the
/// factors of such concepts side by side would be larger. Changes of biases are added, to the model
/// too, each with its concept's share of `weights` (which sum up to 1).
void finish_dense(diffusion::StableDiffusion& model, const std::vector<ConceptSource>& sources,
                  std::span<const double> weights, concepts::ConceptDelta& fused);

}  // namespace mos::fuse
