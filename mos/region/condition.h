#pragma once

#include <torch/types.h>

#include <string>
#include <vector>

#include "mos/diffusion/adapter.h"
#include "mos/diffusion/denoise.h"
#include "mos/region/region.h"

/// Spatial conditions: pictures that say where things are, through T2I-Adapters and ControlNets.
namespace mos::region {

/// A condition that is ready to paint with.
struct LoadedCondition {
  diffusion::SpatialAdapter adapter;
  torch::Tensor picture;  ///< [1,C,H,W] float32 in 0…1, of the size of the canvas.
  Condition condition;
};

/// The network and the picture of `condition` for `model`, on `canvas`.
/// Throws kIo, kFormat, kMismatch for adapters, kUsage for a picture of another aspect.
LoadedCondition load_condition(const Condition& condition, const diffusion::Model& model,
                               Canvas canvas);

/// `picture` uint8 [H,W,C] for an adapter that takes `channels`, on `canvas`: grey for one channel
/// (ITU-R 601, as Pillow's "L"), resized with Lanczos as diffusers does, [1,channels,H,W] in 0…1.
/// Throws kUsage for a picture of another aspect than the canvas.
torch::Tensor condition_picture(const torch::Tensor& picture, std::int64_t channels, Canvas canvas,
                                const std::string& origin);

/// Factors [1,1,h,w] on features of a condition: its weight, and inside each box the box's own;
/// later boxes lie over earlier ones.
torch::Tensor weight_map(const Condition& condition, std::int64_t height, std::int64_t width);

/// What all conditions together add at a call of the U-Net. Features that do not depend on the call
/// are computed once, here.
diffusion::ResidualCallback residuals_of(std::vector<LoadedCondition> conditions);

}  // namespace mos::region
