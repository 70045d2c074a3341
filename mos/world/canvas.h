#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "mos/world/world.h"

namespace mos::world {

/// A square picture that scenes are drawn on, float RGB. Coordinates and lengths are shares of the
/// side, y downwards; every shape has a soft edge, because detail finer than a few pixels is beyond
/// a small VAE.
class Canvas {
 public:
  explicit Canvas(std::int64_t size);

  std::int64_t size() const { return size_; }
  float* pixel(std::int64_t y, std::int64_t x) { return &pixels_[index(y, x)]; }
  const float* pixel(std::int64_t y, std::int64_t x) const { return &pixels_[index(y, x)]; }

  /// The whole picture: from `top` at the upper edge to `bottom` at y = end and below.
  void gradient(const Rgb& top, const Rgb& bottom, double end);

  /// Everything below the line y = height(x); the colour runs from `top` at the line to `bottom` at
  /// the lower edge of the picture.
  void ground(const std::function<double(double)>& height, const Rgb& top, const Rgb& bottom);

  /// `softness` is the width of the edge.
  void ellipse(double x, double y, double radius_x, double radius_y, const Rgb& colour,
               double opacity = 1.0, double softness = 0.012);

  void rectangle(double left, double top, double right, double bottom, const Rgb& colour,
                 double opacity = 1.0);

  /// A triangle standing on the line y = bottom.
  void cone(double x, double top, double bottom, double half_width, const Rgb& colour);

 private:
  std::size_t index(std::int64_t y, std::int64_t x) const {
    return static_cast<std::size_t>(3 * (y * size_ + x));
  }
  /// Blends `colour` into the pixels of row `y` from column `left` to `right` (in pixels, with
  /// covered shares at both ends).
  void span(std::int64_t y, double left, double right, const Rgb& colour, float opacity);
  void blend(float* target, const Rgb& colour, float opacity);

  std::int64_t size_;
  std::vector<float> pixels_;
};

Rgb mix(const Rgb& a, const Rgb& b, double share_of_b);

}  // namespace mos::world
