#include <gtest/gtest.h>

#include "mos/io/bicubic.h"
#include "mos/io/image.h"
#include "tests/support/difference.h"

/// Resampling against what other programs make of the same picture.
namespace {

using mos::test::difference;

TEST(Resize, KeepsConstantsAndTypesAtEverySize) {
  const auto grey = torch::full({7, 5, 3}, 100, torch::kUInt8);
  const auto reals = torch::full({7, 5}, 0.25);
  for (const auto resize : {mos::io::resize_nearest, mos::io::resize_area, mos::io::resize_bilinear,
                            mos::io::resize_bicubic, mos::io::resize_lanczos}) {
    for (const std::int64_t size : {1, 3, 8, 20}) {
      EXPECT_TRUE(
          resize(grey, size, size + 1).equal(torch::full({size, size + 1, 3}, 100, torch::kUInt8)));
      EXPECT_TRUE(resize(reals, size, size + 1).allclose(torch::full({size, size + 1}, 0.25)));
    }
  }
}

/// Black with a faint pattern, and bright lines that make the filter overshoot.
torch::Tensor lines() {
  auto picture = torch::empty({7, 11}, torch::kUInt8);
  for (std::int64_t y = 0; y < 7; ++y) {
    for (std::int64_t x = 0; x < 11; ++x) {
      const bool line = x == 3 || y == 2 || x == y + 4;
      picture[y][x] = line ? 255 : (x * 37 + y * 91) % 64;
    }
  }
  return picture;
}

TEST(Resize, LanczosIsPillows) {
  // Pillow 9.4: image.resize((6, 4), Image.LANCZOS), and rows 0 and 3 of ((16, 12), …).
  const auto small = torch::tensor({{9, 111, 212, 62, 15, 44},
                                    {148, 194, 188, 194, 182, 139},
                                    {6, 122, 66, 13, 147, 50},
                                    {5, 120, 95, 0, 40, 163}});
  const auto large = torch::tensor(
      {{4, 36, 35, 6, 147, 255, 255, 112, 7, 34, 11, 26, 52, 20, 35, 67},
       {190, 173, 165, 183, 249, 232, 161, 255, 255, 192, 154, 156, 172, 191, 185, 173}});
  EXPECT_LE(difference(mos::io::resize_lanczos(lines(), 4, 6).to(torch::kInt64), small), 1);
  const auto enlarged = mos::io::resize_lanczos(lines(), 12, 16);
  EXPECT_LE(difference(torch::stack({enlarged[0], enlarged[3]}).to(torch::kInt64), large), 1);
}

TEST(Resize, BicubicIsPillows) {
  // Pillow 13.0: image.resize((6, 4), Image.BICUBIC), and rows 0 and 3 of ((16, 12), …).
  const auto small = torch::tensor({{13, 109, 197, 66, 19, 37},
                                    {150, 191, 188, 188, 180, 143},
                                    {19, 116, 65, 27, 137, 53},
                                    {13, 114, 86, 6, 41, 154}});
  const auto large = torch::tensor(
      {{0, 22, 32, 0, 158, 255, 255, 114, 21, 27, 4, 17, 43, 15, 29, 55},
       {172, 160, 153, 170, 231, 238, 165, 250, 255, 180, 159, 152, 154, 172, 170, 160}});
  EXPECT_LE(difference(mos::io::resize_bicubic(lines(), 4, 6).to(torch::kInt64), small), 1);
  const auto enlarged = mos::io::resize_bicubic(lines(), 12, 16);
  EXPECT_LE(difference(torch::stack({enlarged[0], enlarged[3]}).to(torch::kInt64), large), 1);
}

TEST(Resize, AreaIsTheMeanOfTheBlocks) {
  const auto image = torch::rand({6, 8, 3});
  const auto blocks = image.view({3, 2, 4, 2, 3}).mean({1, 3});
  EXPECT_TRUE(mos::io::resize_area(image, 3, 4).allclose(blocks, 1e-5, 1e-6));
}

TEST(Resize, BilinearEnlargesLikeTheReferenceInterpolation) {
  const auto image = torch::rand({5, 4, 3});
  const auto reference =
      torch::upsample_bilinear2d(image.permute({2, 0, 1}).unsqueeze(0), {10, 12}, false);
  EXPECT_TRUE(mos::io::resize_bilinear(image, 10, 12)
                  .allclose(reference.squeeze(0).permute({1, 2, 0}), 1e-4, 1e-5));
}

TEST(Resize, NearestTakesPixelsUnderTheCentres) {
  const auto image = torch::arange(4).view({1, 4}).to(torch::kUInt8);
  EXPECT_TRUE(mos::io::resize_nearest(image, 1, 2).equal(torch::tensor({{1, 3}}, torch::kUInt8)));
  EXPECT_TRUE(mos::io::resize_nearest(image, 1, 8)
                  .equal(torch::tensor({{0, 0, 1, 1, 2, 2, 3, 3}}, torch::kUInt8)));
}

}  // namespace
