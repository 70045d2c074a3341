#pragma once

#include <torch/types.h>

#include <cstdint>
#include <vector>

#include "mos/world/compositor.h"

namespace mos::world {

/// Where a subject stands and which way it looks, as a condition picture tells it.
struct Pose {
  Box box;  ///< Pixels.
  enum class Facing { kLeft, kRight } facing = Facing::kLeft;
};

/// The poses of `layout`'s subjects; a subject as its artwork shows it faces left.
std::vector<Pose> poses_of(const Compositor& compositor, const Layout& layout);

/// The keypose picture of the drawn world, which has no joints: on black, for each subject a green
/// spine from the top to the bottom of its box, a red bar across its middle from side to side, and
/// a blue disc at the end of the bar that it faces. Strokes are as wide as the shorter side asks
/// for. uint8 [height, width, 3].
torch::Tensor keypose_picture(const std::vector<Pose>& poses, std::int64_t height,
                              std::int64_t width);

}  // namespace mos::world
