#pragma once

#include <torch/types.h>

#include <vector>

#include "mos/region/region.h"
#include "mos/region/region_shape.h"

/// Regions of any shape as weights of pixels.
namespace mos::region {

/// The masks of all regions of a scene for its canvas, float32 [H,W] in 0…1 each: boxes, polygons
/// (even-odd, with soft edges of a pixel), pictures (resized by area; grey is weight), feathered;
/// the background is what the others leave. Pictures are read: throws kIo and kFormat for them,
/// kUsage for another aspect than the canvas's and for a mask of nothing.
std::vector<torch::Tensor> region_masks(const Scene& scene, Canvas canvas);

/// The shapes of all regions of a scene, which features are made of: hard boxes as they stand, all
/// others as their masks; a background has what the others leave, position by position where these
/// are boxes. Throws as region_masks() does.
std::vector<RegionShape> region_shapes(const Scene& scene, Canvas canvas);

/// Throws kUsage for a background of which the other regions leave nothing, and as above. Reads
/// masks only where there is a background.
void check_background(const Scene& scene, Canvas canvas);

/// Throws kIo for a mask of a region, an adapter or a condition's picture that is not there.
void check_files_of(const Scene& scene);

/// Whether nothing that `mask` weighs could change a picture of whole levels.
bool is_nothing(const torch::Tensor& mask);

/// A picture as a mask of the canvas: grey is weight, transparent is 0; resized by area. `what`
/// names it in messages. Throws as above.
torch::Tensor read_mask(const std::string& path, Canvas canvas, const std::string& what);

/// `mask` [H,W] with its edge spread over `feather` pixels: mean of a square, twice.
torch::Tensor feathered(const torch::Tensor& mask, double feather);

/// The same on the inner side of the edge alone: nowhere more than `mask`, and 0 where that is 0.
torch::Tensor feathered_inside(const torch::Tensor& mask, double feather);

/// A mask on features of height × width by area: what a position has is the mean of its pixels, so
/// that thin parts weigh little instead of vanishing. [height,width]
torch::Tensor mask_on_features(const torch::Tensor& mask, std::int64_t height, std::int64_t width);

/// The scene with its root prompts before all others; a region without a prompt has the context's.
Scene with_root_prompts(Scene scene);

/// The scene on a canvas `scale` times as wide: what it says in pixels grows along.
Scene on_larger_canvas(Scene scene, double scale);

/// The smallest box around all positions of `covered` [h,w] that are not 0; empty without any.
FeatureBox box_around(const torch::Tensor& covered);

}  // namespace mos::region
