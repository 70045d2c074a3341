#include "mos/region/start_size.h"

#include <fmt/core.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "mos/base/error.h"
#include "mos/region/aspect.h"
#include "mos/region/region_mask.h"

namespace mos::region {
namespace {

/// What to do with a picture that has no size of the model: the nearest one of its aspect.
std::string other_size(Canvas canvas, std::int64_t factor) {
  const double aspect = static_cast<double>(canvas.width) / static_cast<double>(canvas.height);
  Canvas nearest;
  for (std::int64_t height = factor; height <= 2 * canvas.height; height += factor) {
    const double positions = static_cast<double>(height) * aspect / static_cast<double>(factor);
    const Canvas other{height, std::max<std::int64_t>(1, std::llround(positions)) * factor};
    const auto distance = [&](Canvas one) { return std::abs(one.height - canvas.height); };
    const bool is_nearer = nearest.height == 0 || distance(other) < distance(nearest);
    if (is_nearer && has_aspect(canvas, other)) nearest = other;
  }
  if (nearest.height == 0) {
    return fmt::format("crop it to {} x {}",
                       std::max(canvas.width / factor, std::int64_t{1}) * factor,
                       std::max(canvas.height / factor, std::int64_t{1}) * factor);
  }
  return fmt::format("paint with --width {} --height {}", nearest.width, nearest.height);
}

/// The same for one that grows: further, where it grows already.
std::string other_growth(std::vector<std::int64_t> by, Canvas canvas, std::int64_t factor) {
  const auto widen = [factor](std::int64_t size, std::int64_t& before, std::int64_t& behind) {
    auto& side = behind > 0 || before == 0 ? behind : before;
    side += (factor - size % factor) % factor;
  };
  widen(canvas.width, by[0], by[2]);
  widen(canvas.height, by[1], by[3]);
  return fmt::format("grow it with --grow {}", fmt::join(by, ","));
}

}  // namespace

void check_canvas_of_start(const PictureOptions& options, Canvas canvas, std::int64_t factor) {
  if (canvas.height % factor == 0 && canvas.width % factor == 0) return;
  throw Error(ErrorKind::kUsage,
              fmt::format("the picture {} {} {} x {} pixels (width x height), and this model needs "
                          "multiples of {}: {}",
                          options.init, options.grow.empty() ? "is" : "grows to", canvas.width,
                          canvas.height, factor,
                          options.grow.empty() ? other_size(canvas, factor)
                                               : other_growth(options.grow, canvas, factor)));
}

void check_grown_canvas(const PictureOptions& options, Canvas grown, Canvas canvas,
                        std::int64_t factor) {
  const auto& by = options.grow;
  const auto without = [&by](Canvas whole) {
    return Canvas{whole.height - by[1] - by[3], whole.width - by[0] - by[2]};
  };
  const auto inner = without(canvas);
  if (inner.height > 0 && inner.width > 0 && has_aspect(without(grown), inner)) return;
  const bool is_possible = grown.height % factor == 0 && grown.width % factor == 0;
  throw Error(
      ErrorKind::kUsage,
      fmt::format("the picture {} grows to {} x {} pixels (width x height), and the canvas that is "
                  "asked for is {} x {}: leave out its height and width, {}",
                  options.init, grown.width, grown.height, canvas.width, canvas.height,
                  is_possible ? fmt::format("or ask for {} x {}", grown.width, grown.height)
                              : "and " + other_growth(by, grown, factor)));
}

void check_start(const LoadedStart& start, const PictureOptions& options) {
  if (!start.mask.defined() || !is_nothing(start.mask)) return;
  throw Error(
      ErrorKind::kUsage,
      fmt::format("nothing of region \"{}\" would be painted again: all of it is within its "
                  "edge of {} pixels; give a smaller --mask-feather",
                  options.redo_region, options.mask_feather));
}

}  // namespace mos::region
