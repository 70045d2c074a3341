#include "mos/region/aspect.h"

#include <fmt/core.h>

#include <cmath>

#include "mos/base/error.h"

namespace mos::region {

bool has_aspect(Canvas picture, Canvas canvas) {
  constexpr double kTolerance = 0.02;  // 64 pixels for 65: the smallest pictures that are painted
  const auto height = static_cast<double>(picture.height);
  const auto width = static_cast<double>(picture.width);
  const double wanted = static_cast<double>(canvas.width) / static_cast<double>(canvas.height);
  return std::abs(width / height / wanted - 1.0) <= kTolerance;
}

void check_aspect(const torch::Tensor& picture, Canvas canvas, const std::string& what) {
  if (has_aspect({picture.size(0), picture.size(1)}, canvas)) return;
  throw Error(ErrorKind::kUsage,
              fmt::format("{} is {} x {} pixels (width x height), which has another aspect than "
                          "the canvas of {} x {}; crop or extend it",
                          what, picture.size(1), picture.size(0), canvas.width, canvas.height));
}

}  // namespace mos::region
