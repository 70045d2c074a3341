#include <algorithm>
#include <cmath>
#include <functional>
#include <numbers>

#include "mos/io/bicubic.h"
#include "mos/io/image.h"

/// Separable resampling as two matrix products: rows · image · columns.
namespace mos::io {
namespace {

/// A filter over source pixels: its value at a distance, and the distance where it ends.
struct Filter {
  double support;
  double (*value)(double);
};

double box(double x) { return x > -0.5 && x <= 0.5 ? 1.0 : 0.0; }
double triangle(double x) { return std::max(0.0, 1.0 - std::abs(x)); }
double sinc(double x) {
  const double angle = x * std::numbers::pi;
  return x == 0.0 ? 1.0 : std::sin(angle) / angle;
}
/// Keys' cubic with a = -0.5, which Pillow calls bicubic.
double cubic(double x) {
  const double d = std::abs(x);
  if (d < 1.0) return (1.5 * d - 2.5) * d * d + 1.0;
  return d < 2.0 ? ((-0.5 * d + 2.5) * d - 4.0) * d + 2.0 : 0.0;
}
double lanczos3(double x) { return std::abs(x) < 3.0 ? sinc(x) * sinc(x / 3.0) : 0.0; }

/// [target, source] float32 with rows that sum to 1; when shrinking the filter widens by the same
/// factor. Sample positions and borders are Pillow's.
torch::Tensor filter_matrix(std::int64_t source, std::int64_t target, const Filter& filter) {
  auto matrix = torch::zeros({target, source});
  auto weights = matrix.accessor<float, 2>();
  const double scale = static_cast<double>(source) / static_cast<double>(target);
  const double width = std::max(scale, 1.0);
  const double support = filter.support * width;
  for (std::int64_t i = 0; i < target; ++i) {
    const double center = (static_cast<double>(i) + 0.5) * scale;
    const auto begin = std::max<std::int64_t>(0, std::llround(std::floor(center - support + 0.5)));
    const auto end = std::min(source, static_cast<std::int64_t>(center + support + 0.5));
    double sum = 0.0;
    for (auto j = begin; j < end; ++j) {
      sum += filter.value((static_cast<double>(j) - center + 0.5) / width);
    }
    for (auto j = begin; j < end; ++j) {
      const double weight = filter.value((static_cast<double>(j) - center + 0.5) / width);
      weights[i][j] = static_cast<float>(weight / sum);
    }
  }
  return matrix;
}

void check(const torch::Tensor& image, std::int64_t height, std::int64_t width) {
  TORCH_CHECK(image.dim() == 2 || image.dim() == 3, "resizing takes [H, W] or [H, W, C], got ",
              image.sizes());
  TORCH_CHECK(height > 0 && width > 0 && image.numel() > 0, "resizing takes positive sizes");
}

/// Larger pictures are made narrower in parts, because a copy of them in float32 takes gigabytes.
constexpr std::int64_t kPixelsAtATime = std::int64_t{1} << 24;

/// [H, W, C] of any type to float32 [H, width, C].
torch::Tensor with_width(const torch::Tensor& planes, std::int64_t width, const Filter& filter) {
  const auto columns = filter_matrix(planes.size(1), width, filter);
  const auto height = planes.size(0);
  const auto rows = std::max<std::int64_t>(1, kPixelsAtATime / planes.size(1));
  if (rows >= height) return torch::matmul(columns, planes.to(torch::kFloat32));
  auto result = torch::empty({height, width, planes.size(2)});
  for (std::int64_t top = 0; top < height; top += rows) {
    const auto part = planes.slice(0, top, std::min(top + rows, height));
    result.slice(0, top, top + part.size(0))
        .copy_(torch::matmul(columns, part.to(torch::kFloat32)));
  }
  return result;
}

torch::Tensor resample(const torch::Tensor& image, std::int64_t height, std::int64_t width,
                       const Filter& filter) {
  check(image, height, width);
  const auto planes = image.dim() == 3 ? image : image.unsqueeze(2);
  const auto channels = planes.size(2);
  auto values = width == planes.size(1) ? planes.to(torch::kFloat32)
                                        : with_width(planes, width, filter);  // [H, w, C]
  if (height != planes.size(0)) {
    const auto rows = filter_matrix(planes.size(0), height, filter);
    values = torch::matmul(rows, values.reshape({planes.size(0), width * channels}))
                 .view({height, width, channels});
  }
  if (image.dim() == 2) values = values.squeeze(2);
  if (image.scalar_type() != torch::kUInt8) return values.to(image.scalar_type());
  return values.round().clamp(0, 255).to(torch::kUInt8);
}

/// Pillow rounds and clips bytes between the passes, which shows where the filter overshoots.
torch::Tensor as_pillow(const torch::Tensor& image, std::int64_t height, std::int64_t width,
                        const Filter& filter) {
  return resample(resample(image, image.size(0), width, filter), height, width, filter);
}

/// Source index of every target pixel: the pixel under its centre.
torch::Tensor nearest_index(std::int64_t source, std::int64_t target) {
  const double scale = static_cast<double>(source) / static_cast<double>(target);
  const auto centers = (torch::arange(target, torch::kFloat64) + 0.5) * scale;
  return centers.floor().to(torch::kInt64).clamp(0, source - 1);
}

}  // namespace

torch::Tensor resize_nearest(const torch::Tensor& image, std::int64_t height, std::int64_t width) {
  check(image, height, width);
  return image.index_select(0, nearest_index(image.size(0), height))
      .index_select(1, nearest_index(image.size(1), width));
}

torch::Tensor resize_area(const torch::Tensor& image, std::int64_t height, std::int64_t width) {
  return resample(image, height, width, {0.5, box});
}

torch::Tensor resize_bilinear(const torch::Tensor& image, std::int64_t height, std::int64_t width) {
  return resample(image, height, width, {1.0, triangle});
}

torch::Tensor resize_bicubic(const torch::Tensor& image, std::int64_t height, std::int64_t width) {
  return as_pillow(image, height, width, {2.0, cubic});
}

torch::Tensor resize_lanczos(const torch::Tensor& image, std::int64_t height, std::int64_t width) {
  return as_pillow(image, height, width, {3.0, lanczos3});
}

}  // namespace mos::io
