#pragma once

#include <torch/types.h>

#include <cstdint>
#include <vector>

#include "mos/pretrain/data.h"

/// What image towers are shown of a picture: all of it, or the piece of one subject.
namespace mos::pretrain {

/// The columns of a picture of `width` pixels that belong to subject `which` of `count`, from left
/// to right: one of `count` equal pieces. Half open.
struct Columns {
  std::int64_t left = 0, right = 0;
};
Columns piece_of(std::int64_t width, std::int64_t which, std::int64_t count);

/// uint8 [B,H,W,3] or its columns -> [B,3,side,side] float32 in −1…1, squeezed to a square.
torch::Tensor squeezed(const torch::Tensor& pictures, std::int64_t side);

struct TowerViews {
  torch::Tensor pictures;                 ///< [B,3,side,side] in −1…1.
  std::vector<world::CaptionSpec> specs;  ///< Of what is shown: one subject where a piece is.
};

struct ViewDraw {
  std::int64_t batch = 112;
  std::int64_t side = 64;
  std::int64_t seed = 1;
  std::uint64_t first = 0;  ///< Pictures are counted from here: trainings apart see others.
};

/// The views of `step`, from all canvases by their shares, of pictures that no other step sees.
TowerViews draw_views(const Dataset& data, const ViewDraw& draw, std::int64_t step);

}  // namespace mos::pretrain
