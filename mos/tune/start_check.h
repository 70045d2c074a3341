#pragma once

#include "mos/diffusion/model.h"
#include "mos/tune/dataset.h"
#include "mos/tune/options.h"

/// What a base model has to say against a run, before any work starts.
namespace mos::tune {

/// Throws mos::Error: kUsage where a word's initializer is no token, a rank too high for an
/// orthogonal basis, nothing would be trained or class pictures have no prompt; kMismatch where
/// the U-Net reads more than the VAE gives; kUsage or kMismatch where canvas or pictures do not
/// fit. `base` may be shapes alone, `options` are complete (complete_options in tune.h).
void check_start(const diffusion::Model& base, const ConceptDataset& dataset,
                 const TuneOptions& options);

}  // namespace mos::tune
