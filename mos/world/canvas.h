#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "mos/world/world.h"

namespace mos::world {

/// A picture that scenes are drawn on, float RGB. Coordinates and lengths are shares of its shorter
/// side, so a circle is a circle on every canvas: x runs from 0 to width(), y downwards to
/// height().
class Canvas {
 public:
  /// Pixels.
  Canvas(std::int64_t rows, std::int64_t columns);

  std::int64_t rows() const { return rows_; }
  std::int64_t columns() const { return columns_; }
  double unit() const { return unit_; }  ///< Pixels of the shorter side.
  double height() const { return static_cast<double>(rows_) / unit_; }
  double width() const { return static_cast<double>(columns_) / unit_; }
  float* pixel(std::int64_t y, std::int64_t x) { return &pixels_[index(y, x)]; }
  const float* pixel(std::int64_t y, std::int64_t x) const { return &pixels_[index(y, x)]; }

  /// The whole picture: from `top` at the upper edge to `bottom` at y = end and below.
  void gradient(const Rgb& top, const Rgb& bottom, double end);

  /// Everything below the line y = height(x); the colour runs from `top` at the line's highest
  /// place to `bottom` at the lower edge of the picture.
  void ground(const std::function<double(double)>& height, const Rgb& top, const Rgb& bottom);

  /// What lies between the lines y = upper(x) and y = lower(x).
  void band(const std::function<double(double)>& upper, const std::function<double(double)>& lower,
            const Rgb& colour, double opacity = 1.0);

  /// `softness` is the width of the edge; 0: one pixel.
  void ellipse(double x, double y, double radius_x, double radius_y, const Rgb& colour,
               double opacity = 1.0, double softness = 0.0);

  void rectangle(double left, double top, double right, double bottom, const Rgb& colour,
                 double opacity = 1.0);

  /// A shape with straight sides: at row y from left to right edges that run linearly from
  /// (x0_left, x0_right) at `top` to (x1_left, x1_right) at `bottom`.
  struct Trapezoid {
    double top = 0.0, left_at_top = 0.0, right_at_top = 0.0;
    double bottom = 1.0, left_at_bottom = 0.0, right_at_bottom = 1.0;
  };
  void trapezoid(const Trapezoid& shape, const Rgb& colour, double opacity = 1.0);

  /// A triangle standing on the line y = bottom.
  void cone(double x, double top, double bottom, double half_width, const Rgb& colour);

 private:
  std::size_t index(std::int64_t y, std::int64_t x) const {
    return static_cast<std::size_t>(3 * (y * columns_ + x));
  }
  /// Blends `colour` into the pixels of row `y` from column `left` to `right` (in pixels, with
  /// covered shares at both ends).
  void span(std::int64_t y, double left, double right, const Rgb& colour, float opacity);
  void blend(float* target, const Rgb& colour, float opacity);

  std::int64_t rows_, columns_;
  double unit_;
  std::vector<float> pixels_;
};

Rgb mix(const Rgb& a, const Rgb& b, double share_of_b);

}  // namespace mos::world
