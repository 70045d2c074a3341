#include "mos/region/drawing.h"

#include <algorithm>
#include <cmath>

namespace mos::region {

using torch::Tensor;

namespace {

constexpr std::int64_t kSubsamples = 4;  // scan lines of a pixel, and steps within one

/// Where the polygon's edges cross the line at `top`, ascending.
std::vector<double> crossings(const std::vector<Point>& corners, double top) {
  std::vector<double> lefts;
  for (std::size_t i = 0; i < corners.size(); ++i) {
    const auto &a = corners[i], &b = corners[(i + 1) % corners.size()];
    if ((a.top <= top) == (b.top <= top)) continue;
    lefts.push_back(a.left + (top - a.top) / (b.top - a.top) * (b.left - a.left));
  }
  std::sort(lefts.begin(), lefts.end());
  return lefts;
}

/// A place in pixels.
struct Pixel {
  double y, x;
};

Pixel on_canvas(const Point& point, Canvas canvas) {
  return {point.top * static_cast<double>(canvas.height),
          point.left * static_cast<double>(canvas.width)};
}

double distance(const Pixel& from, const Pixel& a, const Pixel& b) {
  const double dy = b.y - a.y, dx = b.x - a.x, squared = dy * dy + dx * dx;
  const double along =
      squared > 0 ? std::clamp(((from.y - a.y) * dy + (from.x - a.x) * dx) / squared, 0.0, 1.0)
                  : 0.0;
  return std::hypot(from.y - a.y - along * dy, from.x - a.x - along * dx);
}

/// A round brush of `radius` pixels drawn from `a` to `b`.
void draw_line(Tensor& mask, const Pixel& a, const Pixel& b, double radius) {
  auto rows = mask.accessor<float, 2>();
  const auto within = [&](double value, std::int64_t size) {
    return static_cast<std::int64_t>(std::clamp(value, 0.0, static_cast<double>(size)));
  };
  const auto top = within(std::min(a.y, b.y) - radius - 1, mask.size(0));
  const auto bottom = within(std::max(a.y, b.y) + radius + 2, mask.size(0));
  const auto left = within(std::min(a.x, b.x) - radius - 1, mask.size(1));
  const auto right = within(std::max(a.x, b.x) + radius + 2, mask.size(1));
  for (auto y = top; y < bottom; ++y) {
    for (auto x = left; x < right; ++x) {
      const Pixel middle{static_cast<double>(y) + 0.5, static_cast<double>(x) + 0.5};
      const double inside = std::clamp(radius - distance(middle, a, b) + 0.5, 0.0, 1.0);
      rows[y][x] = std::max(rows[y][x], static_cast<float>(inside));
    }
  }
}

Tensor mask_of_stroke(const Stroke& stroke, Canvas canvas) {
  if (stroke.width == 0.0) return mask_of_polygon(stroke.points, canvas);
  auto mask = torch::zeros({canvas.height, canvas.width});
  const double radius = stroke.width * static_cast<double>(canvas.height) / 2.0;
  for (std::size_t i = 0; i < stroke.points.size(); ++i) {
    const auto& before = stroke.points[i == 0 ? 0 : i - 1];
    draw_line(mask, on_canvas(before, canvas), on_canvas(stroke.points[i], canvas), radius);
  }
  return mask;
}

}  // namespace

Tensor mask_of_polygon(const std::vector<Point>& corners, Canvas canvas) {
  auto fine = torch::zeros({canvas.height, canvas.width * kSubsamples});
  auto rows = fine.accessor<float, 2>();
  const auto lines = static_cast<double>(canvas.height * kSubsamples);
  const auto places = canvas.width * kSubsamples;
  const auto place = [places](double left) {
    const double limited = std::clamp(left, 0.0, 1.0);
    return static_cast<std::int64_t>(std::llround(limited * static_cast<double>(places)));
  };
  for (std::int64_t line = 0; line < canvas.height * kSubsamples; ++line) {
    const auto lefts = crossings(corners, (static_cast<double>(line) + 0.5) / lines);
    for (std::size_t pair = 0; pair + 1 < lefts.size(); pair += 2) {
      for (auto x = place(lefts[pair]); x < place(lefts[pair + 1]); ++x) {
        rows[line / kSubsamples][x] += 1.0F / kSubsamples;
      }
    }
  }
  return fine.view({canvas.height, canvas.width, kSubsamples}).mean(2);
}

Tensor mask_of_drawing(const std::vector<Stroke>& strokes, Canvas canvas) {
  auto mask = torch::zeros({canvas.height, canvas.width});
  for (const auto& stroke : strokes) {
    const auto cover = mask_of_stroke(stroke, canvas);
    mask = stroke.erase ? mask * (1.0 - cover) : torch::maximum(mask, cover);
  }
  return mask;
}

}  // namespace mos::region
