#pragma once

#include <cstddef>
#include <vector>

#include "mos/concepts/tokens.h"
#include "mos/diffusion/model.h"
#include "mos/fuse/fuse_concepts.h"

/// What comes before the stages of a fusion.
namespace mos::fuse {

/// A method that knows pairs of factors alone gets no other update. Throws mos::Error(kUsage).
void check_forms(const MethodInfo& method, const ConceptSource& source);

/// Every LoRA finds its layer. Throws mos::Error(kMismatch).
void check_fit(diffusion::Model& model, const std::vector<ConceptSource>& sources);

/// The words of all concepts, in the model too. Throws mos::Error(kUsage) for those that clash.
concepts::ConceptTokens add_words(diffusion::Model& model,
                                  const std::vector<ConceptSource>& sources);

/// Biases have no method of their own: they are summed with factors, or averaged.
std::vector<double> bias_shares(const FuseOptions& options, std::size_t concepts);

/// The concepts, and one without an update for each phrase that the base model shall keep.
std::vector<ConceptSource> with_kept(std::vector<ConceptSource> sources, const MergeMethod& method);

/// `options` with a weight for each of as many concepts, where there are some.
FuseOptions weighing(FuseOptions options, std::size_t concepts);

}  // namespace mos::fuse
