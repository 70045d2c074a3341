#pragma once

#include <span>
#include <vector>

#include "mos/diffusion/pipeline.h"
#include "mos/fuse/fuse_concepts.h"

namespace mos::fuse {

/// Behind a fusion that has written `fused`, pairs of factors, into `model`. Layers that any source
/// has in another form than a pair (LoHa, LoKr, DoRA, full differences) become full differences,
/// the same numbers: the factors of such concepts side by side would be larger. Changes of biases
/// are added, to the model too, each with its concept's share.
void finish_dense(diffusion::StableDiffusion& model, const std::vector<ConceptSource>& sources,
                  std::span<const double> shares, concepts::ConceptDelta& fused);

}  // namespace mos::fuse
