#include "mos/world/canvas.h"

#include <algorithm>
#include <cmath>

namespace mos::world {
namespace {

float clamp01(double value) { return static_cast<float>(std::clamp(value, 0.0, 1.0)); }

}  // namespace

Rgb mix(const Rgb& a, const Rgb& b, double share_of_b) {
  const auto t = static_cast<float>(share_of_b);
  return {a[0] + (b[0] - a[0]) * t, a[1] + (b[1] - a[1]) * t, a[2] + (b[2] - a[2]) * t};
}

Canvas::Canvas(std::int64_t size)
    : size_(size), pixels_(static_cast<std::size_t>(3 * size * size)) {}

void Canvas::blend(float* target, const Rgb& colour, float opacity) {
  for (std::size_t c = 0; c < 3; ++c) target[c] += (colour[c] - target[c]) * opacity;
}

void Canvas::span(std::int64_t y, double left, double right, const Rgb& colour, float opacity) {
  const auto side = static_cast<double>(size_);
  left = std::max(left, 0.0);
  right = std::min(right, side);
  if (right <= left) return;
  const auto first = static_cast<std::int64_t>(left);
  const auto last = std::min(size_ - 1, static_cast<std::int64_t>(right));
  for (std::int64_t x = first; x <= last; ++x) {
    const double covered =
        std::min(right, static_cast<double>(x + 1)) - std::max(left, static_cast<double>(x));
    if (covered > 0.0) blend(pixel(y, x), colour, opacity * static_cast<float>(covered));
  }
}

void Canvas::gradient(const Rgb& top, const Rgb& bottom, double end) {
  const double last = end * static_cast<double>(size_);
  for (std::int64_t y = 0; y < size_; ++y) {
    const auto colour = mix(top, bottom, clamp01(static_cast<double>(y) / last));
    for (std::int64_t x = 0; x < size_; ++x) std::copy(colour.begin(), colour.end(), pixel(y, x));
  }
}

void Canvas::ground(const std::function<double(double)>& height, const Rgb& top,
                    const Rgb& bottom) {
  const auto side = static_cast<double>(size_);
  std::vector<double> line(static_cast<std::size_t>(size_));
  for (std::int64_t x = 0; x < size_; ++x) {
    line[static_cast<std::size_t>(x)] = side * height((static_cast<double>(x) + 0.5) / side);
  }
  const double highest = *std::min_element(line.begin(), line.end());
  const auto first = std::clamp<std::int64_t>(static_cast<std::int64_t>(highest) - 1, 0, size_);
  for (std::int64_t y = first; y < size_; ++y) {
    const double depth = (static_cast<double>(y) - highest) / std::max(1.0, side - highest);
    const auto colour = mix(top, bottom, clamp01(depth));
    for (std::int64_t x = 0; x < size_; ++x) {
      const auto below =
          clamp01((static_cast<double>(y) + 1.0 - line[static_cast<std::size_t>(x)]) /
                  1.5);  // the edge is 1.5 pixels wide
      if (below > 0.0f) blend(pixel(y, x), colour, below);
    }
  }
}

void Canvas::ellipse(double x, double y, double radius_x, double radius_y, const Rgb& colour,
                     double opacity, double softness) {
  const auto side = static_cast<double>(size_);
  const double margin = 1.0 + softness / std::min(radius_x, radius_y);
  const auto first = [&](double centre, double radius) {
    return std::max<std::int64_t>(0, static_cast<std::int64_t>(side * (centre - radius * margin)));
  };
  const auto last = [&](double centre, double radius) {
    return std::min(size_ - 1, static_cast<std::int64_t>(side * (centre + radius * margin)));
  };
  const double sharpness = std::min(radius_x, radius_y) / std::max(softness, 1.0 / side);
  for (std::int64_t row = first(y, radius_y); row <= last(y, radius_y); ++row) {
    const double v = ((static_cast<double>(row) + 0.5) / side - y) / radius_y;
    for (std::int64_t column = first(x, radius_x); column <= last(x, radius_x); ++column) {
      const double u = ((static_cast<double>(column) + 0.5) / side - x) / radius_x;
      const double inside = (1.0 - std::sqrt(u * u + v * v)) * sharpness + 0.5;
      if (inside > 0.0) blend(pixel(row, column), colour, clamp01(inside) * clamp01(opacity));
    }
  }
}

void Canvas::rectangle(double left, double top, double right, double bottom, const Rgb& colour,
                       double opacity) {
  const auto side = static_cast<double>(size_);
  const double y0 = std::max(0.0, top * side);
  const double y1 = std::min(side, bottom * side);
  for (auto y = static_cast<std::int64_t>(y0); y < size_ && static_cast<double>(y) < y1; ++y) {
    const double covered =
        std::min(y1, static_cast<double>(y + 1)) - std::max(y0, static_cast<double>(y));
    span(y, left * side, right * side, colour, clamp01(covered * opacity));
  }
}

void Canvas::cone(double x, double top, double bottom, double half_width, const Rgb& colour) {
  const auto side = static_cast<double>(size_);
  const auto first = std::max<std::int64_t>(0, static_cast<std::int64_t>(top * side));
  const auto last = std::min(size_, static_cast<std::int64_t>(bottom * side));
  for (std::int64_t y = first; y < last; ++y) {
    const double share = ((static_cast<double>(y) + 0.5) / side - top) / (bottom - top);
    span(y, (x - half_width * share) * side, (x + half_width * share) * side, colour, 1.0f);
  }
}

}  // namespace mos::world
