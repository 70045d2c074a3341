#pragma once

#include <torch/types.h>

#include <vector>

#include "mos/region/guide.h"
#include "mos/region/region.h"

/// Regions found in a picture that has begun (after FreeFuse, arXiv 2510.23515).
namespace mos::region {

/// What share of the calls the search takes: 10 of 30.
inline constexpr double kSearchShare = 1.0 / 3.0;

/// A box for each subject of `seen`, whose layers are of one feature size. What looks at a subject
/// more than at the others is its seed (a tenth of the positions); positions are its own where the
/// self-attention's outputs are more like those of its seed than of the others'; the box holds them
/// but for a twentieth on each side.
std::vector<Box> find_boxes(const Seen& seen);

}  // namespace mos::region
