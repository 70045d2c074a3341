#pragma once

#include <cstdint>

#include "mos/region/picture_options.h"
#include "mos/region/picture_start.h"
#include "mos/region/region.h"

namespace mos::region {

/// Throws kUsage where `canvas`, which canvas_of_start() gave, is no size of a model that needs
/// multiples of `factor`, with one that is.
void check_canvas_of_start(const PictureOptions& options, Canvas canvas, std::int64_t factor);

/// Throws kUsage where the picture of `options`, which grows to `grown`, would have to be stretched
/// for what is added to it to fill `canvas`.
void check_grown_canvas(const PictureOptions& options, Canvas grown, Canvas canvas,
                        std::int64_t factor);

/// Throws kUsage where nothing of the picture would be painted: a region that is all edge.
void check_start(const LoadedStart& start, const PictureOptions& options);

}  // namespace mos::region
