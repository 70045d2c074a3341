#pragma once

#include <string>
#include <vector>

#include "mos/diffusion/model.h"
#include "mos/region/region.h"

/// Whether regions are large enough for the layers that read their prompts. Scenes have a canvas.
namespace mos::region {

/// Throws kUsage naming the regions of `scene` with a box that covers no whole position of any
/// cross-attention layer: nobody would read their prompts.
void check_boxes(const diffusion::Model& model, const Scene& scene);

/// A sentence for each region of another shape that weighs little wherever it is, so that hardly
/// anything of it is painted: shapes weigh by the share of a position that they cover. Reads masks,
/// and throws as region_masks() does.
std::vector<std::string> faint_regions(const diffusion::Model& model, const Scene& scene);

}  // namespace mos::region
