#pragma once

#include <torch/types.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "mos/region/own_updates.h"
#include "mos/region/region_shape.h"
#include "mos/region/structure.h"

/// Regions of any shape, order and time: what the layers that paint them share. Scenes that need no
/// more than the paper's rules are painted by regional_attention.h; what is here does the same for
/// those, and gives a box the same positions with whatever else is asked for.
namespace mos::region {

struct MaskedContext {
  RegionShape shape;              ///< Where it is.
  torch::Tensor context;          ///< [1 or 2,S,C] or [1 or 2,L,S,C], the unconditional half first.
  double weight = 1.0;            ///< 1 replaces the context where the shape is 1.
  double start = 0.0, end = 1.0;  ///< Share of the steps.
  std::shared_ptr<const OwnUpdates> own = {};  ///< Of its concepts; null: none are apart.
  torch::Tensor values =
      {};  ///< [1,S,C] or [1,L,S,C] that values are made of in the prompt's half.
  std::vector<std::int64_t> hidden = {};  ///< Columns of the prompt's half that it does not read.
};

enum class Overlap {
  kMean,  ///< Σ mᵢ yᵢ / max(1, Σ mᵢ), the context for what is missing to 1 (paper for boxes).
  kFront,  ///< The first region takes its mᵢ, the next one of what is left, and so on.
};

/// What the layers of one picture share.
struct MaskedRegions {
  std::vector<MaskedContext> regions;
  Overlap overlap = Overlap::kMean;
  double base_ratio = 0.0;   ///< This share of the context stays inside every region.
  bool isolate = false;      ///< Regions do not see each other in self-attention.
  StructuredText structure;  ///< Of the context's prompt.
  std::shared_ptr<const OwnUpdates> own_context;  ///< Of the context's keys and values; or null.
  std::int64_t latent_height = 0, latent_width = 0;
  std::int64_t pictures = 1;  ///< Of a batch.
  double progress = 0.0;      ///< Share of the calls before this one; kept up to date by its owner.
};

}  // namespace mos::region
