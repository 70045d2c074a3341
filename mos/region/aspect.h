#pragma once

#include <torch/types.h>

#include <string>

#include "mos/region/region.h"

namespace mos::region {

/// Whether `picture` has the aspect of `canvas`, as below.
bool has_aspect(Canvas picture, Canvas canvas);

/// Throws kUsage unless `picture` [H,W,…] has the canvas's aspect, but for what rounding its sides
/// to whole pixels can change: it would be stretched otherwise, and nobody could say why what it
/// shows stands elsewhere. `what` is how the message calls it.
void check_aspect(const torch::Tensor& picture, Canvas canvas, const std::string& what);

}  // namespace mos::region
