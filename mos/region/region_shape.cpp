#include "mos/region/region_shape.h"

#include "mos/region/region_mask.h"

namespace mos::region {

using torch::Tensor;

namespace {

/// Sets the positions of `map` that lie in `box`.
void set_inside(const Tensor& map, const Box& box, double value) {
  const auto inside = on_features(box, map.size(0), map.size(1));
  if (inside.empty()) return;  // slices of it would count from the end
  map.slice(0, inside.top, inside.bottom).slice(1, inside.left, inside.right).fill_(value);
}

}  // namespace

Tensor shape_on_features(const RegionShape& shape, std::int64_t height, std::int64_t width) {
  TORCH_CHECK(!shape.is_anywhere(), "a shape that is anywhere has no weights");
  const auto map =
      shape.box ? torch::zeros({height, width}) : mask_on_features(shape.mask, height, width);
  if (shape.box) set_inside(map, *shape.box, 1.0);
  for (const auto& box : shape.without) set_inside(map, box, 0.0);
  return map;
}

}  // namespace mos::region
