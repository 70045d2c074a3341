#include "mos/world/canvas.h"

#include <algorithm>
#include <cmath>

namespace mos::world {
namespace {

float clamp01(double value) { return static_cast<float>(std::clamp(value, 0.0, 1.0)); }

/// Values of a line at the middle of every column, in pixels.
std::vector<double> sampled(const std::function<double(double)>& line, const Canvas& canvas) {
  std::vector<double> values(static_cast<std::size_t>(canvas.columns()));
  for (std::size_t x = 0; x < values.size(); ++x) {
    values[x] = canvas.unit() * line((static_cast<double>(x) + 0.5) / canvas.unit());
  }
  return values;
}

}  // namespace

Rgb mix(const Rgb& a, const Rgb& b, double share_of_b) {
  const auto t = static_cast<float>(share_of_b);
  return {a[0] + (b[0] - a[0]) * t, a[1] + (b[1] - a[1]) * t, a[2] + (b[2] - a[2]) * t};
}

Canvas::Canvas(std::int64_t rows, std::int64_t columns)
    : rows_(rows),
      columns_(columns),
      // Lengths are shares of the shorter side, so a scene looks the same on canvases of every
      // shape.
      unit_(static_cast<double>(std::min(rows, columns))),
      pixels_(static_cast<std::size_t>(3 * rows * columns)) {}

void Canvas::blend(float* target, const Rgb& colour, float opacity) {
  for (std::size_t c = 0; c < 3; ++c) target[c] += (colour[c] - target[c]) * opacity;
}

void Canvas::span(std::int64_t y, double left, double right, const Rgb& colour, float opacity) {
  left = std::max(left, 0.0);
  right = std::min(right, static_cast<double>(columns_));
  if (right <= left) return;
  const auto first = static_cast<std::int64_t>(left);
  const auto last = std::min(columns_ - 1, static_cast<std::int64_t>(right));
  const auto covered = [left, right](std::int64_t x) {
    return static_cast<float>(std::min(right, static_cast<double>(x + 1)) -
                              std::max(left, static_cast<double>(x)));
  };
  blend(pixel(y, first), colour, opacity * covered(first));
  for (auto x = first + 1; x < last; ++x) blend(pixel(y, x), colour, opacity);
  // The ends by how much of them is covered: edges are smooth without drawing larger first.
  if (last > first) blend(pixel(y, last), colour, opacity * std::max(0.0f, covered(last)));
}

void Canvas::gradient(const Rgb& top, const Rgb& bottom, double end) {
  const double last = end * unit_;
  for (std::int64_t y = 0; y < rows_; ++y) {
    const auto colour = mix(top, bottom, clamp01(static_cast<double>(y) / last));
    for (std::int64_t x = 0; x < columns_; ++x) {
      std::copy(colour.begin(), colour.end(), pixel(y, x));
    }
  }
}

void Canvas::ground(const std::function<double(double)>& height, const Rgb& top,
                    const Rgb& bottom) {
  const auto line = sampled(height, *this);
  const double highest = *std::min_element(line.begin(), line.end());
  const auto first = std::clamp<std::int64_t>(static_cast<std::int64_t>(highest) - 1, 0, rows_);
  const double depth_of_all = std::max(1.0, static_cast<double>(rows_) - highest);
  for (std::int64_t y = first; y < rows_; ++y) {
    const auto row = static_cast<double>(y);
    const auto colour = mix(top, bottom, clamp01((row - highest) / depth_of_all));
    for (std::int64_t x = 0; x < columns_; ++x) {
      const double below = row + 1.0 - line[static_cast<std::size_t>(x)];
      if (below >= 1.0) {
        std::copy(colour.begin(), colour.end(), pixel(y, x));
      } else if (below > 0.0) {
        blend(pixel(y, x), colour, static_cast<float>(below));
      }
    }
  }
}

void Canvas::band(const std::function<double(double)>& upper,
                  const std::function<double(double)>& lower, const Rgb& colour, double opacity) {
  const auto from = sampled(upper, *this), to = sampled(lower, *this);
  const auto first = std::max(0.0, std::floor(*std::min_element(from.begin(), from.end())));
  const auto last = std::min(static_cast<double>(rows_), *std::max_element(to.begin(), to.end()));
  for (auto y = static_cast<std::int64_t>(first); static_cast<double>(y) < last; ++y) {
    for (std::int64_t x = 0; x < columns_; ++x) {
      const auto i = static_cast<std::size_t>(x);
      const double covered =
          std::min(to[i], static_cast<double>(y + 1)) - std::max(from[i], static_cast<double>(y));
      if (covered > 0.0) blend(pixel(y, x), colour, clamp01(covered * opacity));
    }
  }
}

void Canvas::ellipse(double x, double y, double radius_x, double radius_y, const Rgb& colour,
                     double opacity, double softness) {
  // Never harder than a pixel.
  const double edge = std::max(softness, 1.0 / unit_);
  const double sharpness = std::min(radius_x, radius_y) / edge;
  const double outer = 1.0 + 0.5 / sharpness;  // where nothing is seen any more
  const double inner = std::max(0.0, 1.0 - 0.5 / sharpness);
  const auto column = [&](double share) {
    const double at =
        std::clamp(unit_ * (x + share * radius_x), 0.0, static_cast<double>(columns_));
    return static_cast<std::int64_t>(at);
  };
  const auto first = std::max<std::int64_t>(
      0, static_cast<std::int64_t>(std::floor(unit_ * (y - radius_y * outer))));
  const auto last = std::min(rows_ - 1, static_cast<std::int64_t>(unit_ * (y + radius_y * outer)));
  for (auto row = first; row <= last; ++row) {
    const double v = ((static_cast<double>(row) + 0.5) / unit_ - y) / radius_y;
    if (std::abs(v) >= outer) continue;
    const double reach = std::sqrt(outer * outer - v * v);
    // The middle needs no distances: most of an ellipse is inside.
    const double whole = std::abs(v) < inner ? std::sqrt(inner * inner - v * v) : 0.0;
    const auto soft = [&](std::int64_t from, std::int64_t to) {
      for (auto c = from; c < to; ++c) {
        const double u = ((static_cast<double>(c) + 0.5) / unit_ - x) / radius_x;
        const double inside = (1.0 - std::sqrt(u * u + v * v)) * sharpness + 0.5;
        if (inside > 0.0) blend(pixel(row, c), colour, clamp01(inside) * clamp01(opacity));
      }
    };
    const auto from = column(-reach), to = std::min(columns_, column(reach) + 1);
    const auto left = std::min(to, column(-whole) + 1), right = std::max(left, column(whole));
    soft(from, left);
    for (auto c = left; c < right; ++c) blend(pixel(row, c), colour, clamp01(opacity));
    soft(right, to);
  }
}

void Canvas::rectangle(double left, double top, double right, double bottom, const Rgb& colour,
                       double opacity) {
  trapezoid({.top = top,
             .left_at_top = left,
             .right_at_top = right,
             .bottom = bottom,
             .left_at_bottom = left,
             .right_at_bottom = right},
            colour, opacity);
}

void Canvas::trapezoid(const Trapezoid& shape, const Rgb& colour, double opacity) {
  const double top = shape.top * unit_, bottom = shape.bottom * unit_;
  const auto end = std::min(bottom, static_cast<double>(rows_));
  for (auto y = static_cast<std::int64_t>(std::max(0.0, top)); static_cast<double>(y) < end; ++y) {
    const double covered =
        std::min(end, static_cast<double>(y + 1)) - std::max(top, static_cast<double>(y));
    const double share =
        std::clamp((static_cast<double>(y) + 0.5 - top) / (bottom - top), 0.0, 1.0);
    const auto at = [share](double a, double b) { return a + share * (b - a); };
    span(y, at(shape.left_at_top, shape.left_at_bottom) * unit_,
         at(shape.right_at_top, shape.right_at_bottom) * unit_, colour, clamp01(covered * opacity));
  }
}

void Canvas::cone(double x, double top, double bottom, double half_width, const Rgb& colour) {
  trapezoid({.top = top,
             .left_at_top = x,
             .right_at_top = x,
             .bottom = bottom,
             .left_at_bottom = x - half_width,
             .right_at_bottom = x + half_width},
            colour);
}

}  // namespace mos::world
