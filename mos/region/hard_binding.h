#pragma once

#include <memory>

#include "mos/diffusion/denoise.h"
#include "mos/region/masked_regions.h"

namespace mos::region {

/// Hard binding (RAG-Diffusion, arXiv 2411.06558): in the first `steps` the rectangle
/// of every region is also run alone, with its own prompt and nothing around it, and its
/// prediction takes the region's share of the whole one's. Schedulers work position by position, so
/// this is the same as denoising regions apart and pasting them. `scene` holds the regions of a
/// batch.
diffusion::PredictCallback hard_binding(nn::UNet2DConditionModel unet,
                                        std::shared_ptr<const MaskedRegions> scene,
                                        std::int64_t steps);

}  // namespace mos::region
