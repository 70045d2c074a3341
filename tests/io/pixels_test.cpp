#include <gtest/gtest.h>

#include "mos/io/image.h"
#include "tests/io/bytes.h"
#include "tests/io/gradient.h"

/// Pixels between files and networks, and pictures side by side.
namespace {

using mos::ErrorKind;
using mos::io::test::error_of;
using mos::io::test::gradient;

TEST(Pixels, GoToTheRangeOfTheVaeAndBack) {
  const auto pixels = gradient(4, 6, 3);
  const auto chw = mos::io::to_float_chw({.pixels = pixels, .text = {}});
  EXPECT_EQ(chw.sizes(), (std::vector<std::int64_t>{3, 4, 6}));
  EXPECT_GE(chw.min().item<float>(), -1.0F);
  EXPECT_LE(chw.max().item<float>(), 1.0F);
  EXPECT_TRUE(mos::io::to_uint8_hwc(chw).equal(pixels));
  EXPECT_TRUE(mos::io::to_uint8_hwc(chw.unsqueeze(0)).equal(pixels));
  EXPECT_EQ(mos::io::to_uint8_hwc(torch::full({3, 1, 1}, 9.0)).max().item<int>(), 255);
}

TEST(Pixels, LargePicturesBecomeRgbAndNarrowInPartsAsSmallOnesDo) {
  const std::int64_t width = 4096, height = 4200;  // more than is computed with at a time
  const auto rgba = gradient(height, width, 4);
  const auto rgb = mos::io::to_rgb(rgba);
  const auto wide = mos::io::resize_area(rgb, height, 16);
  for (const std::int64_t top : {0, 255, 256, 2047, 4096, 4199}) {
    const auto row = rgba.slice(0, top, top + 1);
    EXPECT_TRUE(rgb.slice(0, top, top + 1).equal(mos::io::to_rgb(row))) << top;
    EXPECT_LE((wide.slice(0, top, top + 1).to(torch::kInt32) -
               mos::io::resize_area(mos::io::to_rgb(row), 1, 16).to(torch::kInt32))
                  .abs()
                  .max()
                  .item<int>(),
              1)
        << top;  // sums in another order may round to the next level
  }
}

TEST(Pixels, BecomeRgbWhateverTheyWere) {
  EXPECT_TRUE(mos::io::to_rgb(gradient(2, 2, 1)).select(2, 2).equal(gradient(2, 2, 1).squeeze(2)));
  auto half = torch::zeros({1, 2, 4}, torch::kUInt8);
  half[0][1][3] = 255;
  const auto rgb = mos::io::to_rgb(half);
  EXPECT_EQ(rgb[0][0][0].item<int>(), 255) << "transparent is white";
  EXPECT_EQ(rgb[0][1][0].item<int>(), 0);
}

TEST(Grid, PutsPicturesInRowsWithGaps) {
  const std::vector<torch::Tensor> images(3, torch::zeros({2, 3, 3}, torch::kUInt8));
  const auto grid = mos::io::make_grid(images, 2, 1);
  ASSERT_EQ(grid.sizes(), (std::vector<std::int64_t>{5, 7, 3}));
  EXPECT_EQ(grid[4][2][0].item<int>(), 0);
  EXPECT_EQ(grid[2][0][0].item<int>(), 255) << "the gap";
  EXPECT_EQ(grid[4][6][0].item<int>(), 255) << "the empty place";
  EXPECT_NE(error_of(ErrorKind::kUsage, [] { mos::io::make_grid({}, 2); }), "");
}

}  // namespace
