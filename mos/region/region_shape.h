#pragma once

#include <torch/types.h>

#include <cstdint>
#include <optional>
#include <vector>

#include "mos/region/region.h"

namespace mos::region {

/// Where a region is on features of any size: a box with a hard edge has the positions that lie in
/// it, as in the paper, and any other shape weighs at each position as much as it covers there. So
/// a box is the same one in every layer, whatever else a picture is painted with.
struct RegionShape {
  torch::Tensor mask;             ///< float32 [H,W] pixels, 0…1; undefined where there is a box.
  std::optional<Box> box = {};    ///< With a hard edge, instead of the mask.
  std::vector<Box> without = {};  ///< Of a background: those whose positions are not its own.

  /// Whether it is no place at all, but the whole canvas.
  bool is_anywhere() const { return !mask.defined() && !box.has_value(); }
};

/// The weights of a shape on features of height × width, float32 [height,width] in 0…1. Required:
/// it is not anywhere.
torch::Tensor shape_on_features(const RegionShape& shape, std::int64_t height, std::int64_t width);

}  // namespace mos::region
