#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numbers>

#include "mos/io/image.h"

// Resampling against its definition, pixel by pixel in float64, and what holds of every filter.

namespace mos::io {
namespace {

using torch::Tensor;

using Resize = Tensor (*)(const Tensor&, std::int64_t, std::int64_t);

struct FilterCase {
  const char* name;
  Resize resize;
  double support;
  double (*value)(double);
};

double lanczos(double x) {
  const auto sinc = [](double t) {
    return t == 0.0 ? 1.0 : std::sin(std::numbers::pi * t) / (std::numbers::pi * t);
  };
  return std::abs(x) < 3.0 ? sinc(x) * sinc(x / 3.0) : 0.0;
}

const FilterCase kFilters[] = {
    {"area", resize_area, 0.5, [](double x) { return x > -0.5 && x <= 0.5 ? 1.0 : 0.0; }},
    {"bilinear", resize_bilinear, 1.0, [](double x) { return std::max(0.0, 1.0 - std::abs(x)); }},
    {"lanczos", resize_lanczos, 3.0, lanczos}};

/// Weights of the source pixels in target pixel `i`: the filter around its centre, wider by the
/// factor of a reduction, cut at the border and brought to a sum of one.
std::vector<double> weights_of(const FilterCase& filter, std::int64_t i, std::int64_t source,
                               std::int64_t target) {
  const double scale = static_cast<double>(source) / static_cast<double>(target);
  const double width = std::max(1.0, scale);
  const double centre = (static_cast<double>(i) + 0.5) * scale - 0.5;
  std::vector<double> weights;
  double sum = 0.0;
  for (std::int64_t j = 0; j < source; ++j) {
    weights.push_back(filter.value((static_cast<double>(j) - centre) / width));
    sum += weights.back();
  }
  for (auto& weight : weights) weight /= sum;
  return weights;
}

Tensor reference_resize(const FilterCase& filter, const Tensor& image, std::int64_t height,
                        std::int64_t width) {
  const auto matrix = [&](std::int64_t source, std::int64_t target) {
    std::vector<Tensor> rows;
    for (std::int64_t i = 0; i < target; ++i) {
      rows.push_back(torch::tensor(weights_of(filter, i, source, target), torch::kFloat64));
    }
    return torch::stack(rows);
  };
  const auto wide = image.to(torch::kFloat64);
  return torch::einsum("hi,ijc,wj->hwc",
                       {matrix(image.size(0), height), wide, matrix(image.size(1), width)});
}

constexpr std::pair<std::int64_t, std::int64_t> kSizes[] = {{7, 9}, {3, 4},  {14, 18},
                                                            {1, 1}, {5, 23}, {16, 2}};

class Filters : public testing::TestWithParam<FilterCase> {
 protected:
  const Tensor image_ = torch::rand({7, 9, 3});
};

TEST_P(Filters, AreWhatTheirDefinitionSaysAtEverySize) {
  for (const auto& [height, width] : kSizes) {
    const auto actual = GetParam().resize(image_, height, width).to(torch::kFloat64);
    const auto expected = reference_resize(GetParam(), image_, height, width);
    EXPECT_LT((actual - expected).abs().max().item<double>(), 1e-5) << height << " x " << width;
  }
}

TEST_P(Filters, DoNotKnowLeftFromRightNorUpFromDown) {
  // Of two pixels that are equally far, the area filter takes the one: sizes without such pairs.
  for (const auto& [height, width] : {std::pair{14L, 27L}, std::pair{21L, 3L}}) {
    for (const std::int64_t axis : {0, 1}) {
      const auto turned = GetParam().resize(image_.flip({axis}), height, width).flip({axis});
      EXPECT_TRUE(turned.allclose(GetParam().resize(image_, height, width), 1e-5, 1e-6));
    }
  }
}

TEST_P(Filters, TakeViewsAndSinglePlanesAsTheyLook) {
  const auto view = torch::rand({9, 7, 6}).transpose(0, 1).slice(2, 1, 4);
  EXPECT_TRUE(GetParam()
                  .resize(view, 4, 11)
                  .allclose(GetParam().resize(view.contiguous(), 4, 11), 1e-6, 1e-6));
  const auto plane = image_.select(2, 1);
  EXPECT_TRUE(GetParam()
                  .resize(plane, 4, 11)
                  .allclose(GetParam().resize(image_, 4, 11).select(2, 1), 1e-6, 1e-6));
}

TEST_P(Filters, TheSameSizeIsTheSamePicture) {
  EXPECT_TRUE(GetParam().resize(image_, 7, 9).allclose(image_, 1e-6, 1e-6));
  const auto bytes = (image_ * 255).to(torch::kUInt8);
  EXPECT_TRUE(GetParam().resize(bytes, 7, 9).equal(bytes));
}

TEST_P(Filters, BytesAreRoundedAndNeverWrapAround) {
  const auto bytes = (torch::rand({7, 9, 3}) > 0.5).to(torch::kUInt8) * 255;  // overshoots
  const auto expected = reference_resize(GetParam(), bytes, 13, 20).clamp(0, 255);
  const auto actual = GetParam().resize(bytes, 13, 20);
  EXPECT_EQ(actual.scalar_type(), torch::kUInt8);
  // Lanczos rounds between its two passes, as Pillow does, and clips there.
  const auto difference = (actual.to(torch::kFloat64) - expected).abs();
  EXPECT_LE(difference.median().item<double>(), 1.0);
  if (std::string(GetParam().name) != "lanczos") {
    EXPECT_LE(difference.max().item<double>(), 0.501);
  }
}

INSTANTIATE_TEST_SUITE_P(OfPillow, Filters, testing::ValuesIn(kFilters),
                         [](const auto& filter) { return std::string(filter.param.name); });

TEST(ResizeNearest, TakesOnlyPixelsThatAreThere) {
  const auto image = torch::arange(35).view({5, 7});
  for (const auto& [height, width] : kSizes) {
    const auto resized = resize_nearest(image, height, width);
    for (std::int64_t row = 0; row < height; ++row) {
      for (std::int64_t column = 0; column < width; ++column) {
        const auto under =
            (2 * row + 1) * 5 / (2 * height) * 7 + (2 * column + 1) * 7 / (2 * width);
        EXPECT_EQ(resized[row][column].item<std::int64_t>(), under);
      }
    }
  }
}

TEST(ResizeSizes, OfNothingAreRefused) {
  for (const auto resize : {resize_nearest, resize_area, resize_bilinear, resize_lanczos}) {
    EXPECT_THROW(resize(torch::rand({4, 4, 3}), 0, 4), c10::Error);
    EXPECT_THROW(resize(torch::rand({4, 4, 3}), 4, -1), c10::Error);
    EXPECT_THROW(resize(torch::rand({0, 4, 3}), 2, 2), c10::Error);
    EXPECT_THROW(resize(torch::rand({4}), 2, 2), c10::Error);
  }
}

}  // namespace
}  // namespace mos::io
