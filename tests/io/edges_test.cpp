#include "mos/io/edges.h"

#include <gtest/gtest.h>

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

}  // namespace
}  // namespace mos::io
