#include "mos/io/edges.h"

#include <gtest/gtest.h>

#include <array>

#include "mos/base/random.h"
#include "mos/base/runtime.h"
#include "tests/support/sanitizers.h"

namespace mos::io {
namespace {

TEST(EdgePicture, DrawsTheOutlineOfASquareAndNothingElse) {
  auto picture = torch::zeros({32, 32, 3}, torch::kUInt8);
  picture.slice(0, 8, 24).slice(1, 8, 24).fill_(255);
  const auto edges = edge_picture(picture, {.blur = 0.0}).squeeze(-1);
  EXPECT_EQ(edges.sizes(), (std::vector<std::int64_t>{32, 32}));
  const auto lit = edges > 0;
  EXPECT_EQ(lit.slice(0, 11, 21).slice(1, 11, 21).sum().item<int>(), 0);  // inside
  EXPECT_EQ(lit.slice(0, 0, 6).sum().item<int>(), 0);                     // above
  for (std::int64_t row = 10; row < 22; ++row) {
    EXPECT_EQ(lit[row].sum().item<int>(), 2) << row;  // one pixel on each side
  }
}

TEST(EdgePicture, WeakEdgesCountOnlyBesideStrongOnes) {
  auto picture = torch::zeros({16, 32, 3}, torch::kUInt8);
  picture.slice(1, 16).fill_(40);  // a step of 0.16: between low and high
  EXPECT_EQ(edge_picture(picture, {.blur = 0.0}).sum().item<int>(), 0);
  picture.slice(0, 0, 4).slice(1, 16).fill_(255);  // the same edge, strong above
  EXPECT_GT((edge_picture(picture, {.blur = 0.0})[12] > 0).sum().item<int>(), 0);
}

TEST(EdgePicture, ColoursOfEqualGreyHaveAnEdge) {
  auto picture = torch::zeros({16, 32, 3}, torch::kUInt8);
  picture.slice(1, 0, 16).select(2, 0).fill_(196);  // 0.299 · 196 = 0.587 · 100
  picture.slice(1, 16).select(2, 1).fill_(100);
  EXPECT_EQ((edge_picture(picture, {.blur = 0.0})[8] > 0).sum().item<int>(), 1);
}

/// Noise over flat steps: edges of any length, strong and weak, across every seam.
torch::Tensor rough_picture(std::int64_t height, std::int64_t width, std::int64_t channels) {
  auto generator = seeded_generator(7);
  const auto coarse = at::randint(0, 200, {height / 37 + 1, width / 23 + 1, channels}, generator);
  const auto steps = coarse.repeat_interleave(37, 0).repeat_interleave(23, 1);
  const auto noise = at::randint(0, 56, {height, width, channels}, generator);
  return (steps.slice(0, 0, height).slice(1, 0, width) + noise).to(torch::kUInt8);
}

TEST(EdgePicture, IsTheSameInAnyTiles) {
  for (const auto& [height, width, channels] :
       {std::array{301, 407, 3}, {523, 211, 1}, {17, 3001, 4}, {2003, 1, 3}, {1, 1, 3}}) {
    const auto picture = rough_picture(height, width, channels);
    for (const double blur : {0.0, 1.4, 9.0}) {
      EdgeOptions options{.blur = blur, .high = 0.2 / (1.0 + blur), .low = 0.1 / (1.0 + blur)};
      options.tile = 4000;
      const auto whole = edge_picture(picture, options);
      EXPECT_EQ(whole.any().item<bool>(), picture.numel() > 3) << blur;
      options.tile = 101;
      EXPECT_TRUE(edge_picture(picture, options).equal(whole))
          << height << " x " << width << " x " << channels << ", blur " << blur;
    }
  }
}

// Its floats at once were 800 bytes a pixel.
TEST(EdgePicture, TakesAFewBytesAPixelAndATile) {
  if (test::is_sanitized()) GTEST_SKIP() << "sanitizers keep what is freed";
  constexpr std::int64_t kTile = 100 << 20;
  for (const auto& [height, width] : {std::array{1200, 2000}, {16, 150'000}}) {
    const auto picture = rough_picture(height, width, 3);
    edge_picture(picture.slice(0, 0, 16).slice(1, 0, 16));  // what the first one loads stays
    const PeakMemory peak;
    const auto before = peak.bytes();
    edge_picture(picture);
    EXPECT_LT(peak.bytes() - before, kTile + 4 * height * width) << height << " x " << width;
  }
}

}  // namespace
}  // namespace mos::io
