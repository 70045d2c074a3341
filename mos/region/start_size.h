#pragma once

#include <cstdint>

#include "mos/region/picture_options.h"
#include "mos/region/region.h"

namespace mos::region {

/// Throws kUsage where `canvas`, which canvas_of_start() gave, is no size of a model that needs
/// multiples of `factor`, with one that is.
void check_canvas_of_start(const PictureOptions& options, Canvas canvas, std::int64_t factor);

}  // namespace mos::region
