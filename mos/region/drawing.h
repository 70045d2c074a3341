#pragma once

#include <torch/types.h>

#include <vector>

#include "mos/region/region.h"

/// Shapes of regions as pixels.
namespace mos::region {

/// float32 [H,W]: how much of each pixel lies inside the polygon, even-odd.
torch::Tensor mask_of_polygon(const std::vector<Point>& corners, Canvas canvas);

/// float32 [H,W] of strokes one after the other, with edges as soft as a pixel.
torch::Tensor mask_of_drawing(const std::vector<Stroke>& strokes, Canvas canvas);

}  // namespace mos::region
