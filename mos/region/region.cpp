#include "mos/region/region.h"

#include <fmt/core.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>

#include "mos/base/error.h"
#include "mos/base/factor.h"
#include "mos/base/text.h"
#include "mos/region/units.h"

namespace mos::region {
namespace {

/// `share` of `size` positions. 15/22 of 22 is 15 here, which rounding makes a little more, so that
/// a box would lose a position of its edge.
double place_of_edge(double share, double size) {
  constexpr double kRounding = 1e-9;
  const double place = share * size, nearest = std::round(place);
  return std::abs(place - nearest) < kRounding ? nearest : place;
}

}  // namespace

bool Scene::is_plain() const {
  return overlap == "mean" && base_ratio == 0.0 && !isolate &&
         std::all_of(regions.begin(), regions.end(), [](const Region& region) {
           return region.is_plain_box() && !trimmed(region.prompt).empty();
         });
}

FeatureBox on_features(const Box& box, std::int64_t height, std::int64_t width) {
  const auto h = static_cast<double>(height), w = static_cast<double>(width);
  return {static_cast<std::int64_t>(std::ceil(place_of_edge(box.top, h))),
          static_cast<std::int64_t>(std::ceil(place_of_edge(box.left, w))),
          static_cast<std::int64_t>(std::floor(place_of_edge(box.bottom, h))),
          static_cast<std::int64_t>(std::floor(place_of_edge(box.right, w)))};
}

Box make_box(const std::vector<double>& numbers, Canvas canvas) {
  if (numbers.size() != 4) {
    throw Error(
        ErrorKind::kUsage,
        fmt::format("a box has four numbers, top, left, bottom, right, but [{}] has {}",
                    printable(fmt::format("{}", fmt::join(numbers, ", "))), numbers.size()));
  }
  const auto what = fmt::format("box [{}]", fmt::join(numbers, ", "));
  const bool fractions = are_fractions(numbers, what);
  const double height = fractions ? 1.0 : static_cast<double>(canvas.height);
  const double width = fractions ? 1.0 : static_cast<double>(canvas.width);
  const Box box{numbers[0] / height, numbers[1] / width, numbers[2] / height, numbers[3] / width};
  const bool finite =
      std::all_of(numbers.begin(), numbers.end(), [](double x) { return std::isfinite(x); });
  if (!finite || box.top < 0.0 || box.left < 0.0 || box.bottom > 1.0 || box.right > 1.0) {
    throw Error(ErrorKind::kUsage,
                fmt::format("{} reaches outside the canvas of {} x {} pixels (width x height)",
                            what, canvas.width, canvas.height));
  }
  if (box.top >= box.bottom || box.left >= box.right) {
    throw Error(ErrorKind::kUsage,
                fmt::format("{} has no area; expected top < bottom and left < right", what));
  }
  const bool is_thin = numbers[2] - numbers[0] < 1.0 || numbers[3] - numbers[1] < 1.0;
  if (!fractions && is_thin) throw_mixed_units(what, *std::ranges::max_element(numbers));
  return box;
}

void check_condition(const Condition& condition, const std::string& where) {
  const auto require = [&](bool holds, const std::string& what) {
    if (!holds) throw Error(ErrorKind::kUsage, where + what);
  };
  require(!condition.adapter.empty() && !condition.picture.empty(),
          " needs an adapter and a picture");
  require(condition.start >= 0.0 && condition.end <= 1.0 && condition.start < condition.end,
          fmt::format(": start {} and end {} must lie in 0 to 1, start before end", condition.start,
                      condition.end));
  check_factor(where + ": weight", condition.weight);
  for (const auto& [box, weight] : condition.boxes) {
    check_factor(where + ": the weight of a box", weight);
  }
}

}  // namespace mos::region
