#include "mos/world/keypose.h"

#include <gtest/gtest.h>

#include "tests/world/synthetic_sprites.h"

namespace mos::world {
namespace {

constexpr std::int64_t kSize = 128;
constexpr std::int64_t kRed = 0, kGreen = 1, kBlue = 2;
const Box kBox{.top = 20, .left = 30, .bottom = 100, .right = 90};

/// The smallest box that holds all pixels of `channel` above half of full strength.
Box extent(const torch::Tensor& picture, std::int64_t channel) {
  const auto places = picture.select(2, channel).gt(127).nonzero();
  const auto first = std::get<0>(places.min(0)), last = std::get<0>(places.max(0));
  return {first[0].item<std::int64_t>(), first[1].item<std::int64_t>(),
          last[0].item<std::int64_t>() + 1, last[1].item<std::int64_t>() + 1};
}

TEST(KeyposePicture, SpineAndBarHaveTheExtentOfTheBoxAndCrossAtItsMiddle) {
  const auto picture = keypose_picture({{kBox, Pose::Facing::kLeft}}, kSize, kSize);
  const auto spine = extent(picture, kGreen);
  EXPECT_EQ(spine.top, kBox.top);
  EXPECT_EQ(spine.bottom, kBox.bottom);
  EXPECT_EQ(spine.left + spine.right, kBox.left + kBox.right);
  EXPECT_EQ(extent(picture, kRed).right, kBox.right);
}

TEST(KeyposePicture, TheDiscIsAtTheSideThatTheSubjectFaces) {
  const auto middle = (kBox.left + kBox.right) / 2;
  EXPECT_LT(extent(keypose_picture({{kBox, Pose::Facing::kLeft}}, kSize, kSize), kBlue).right,
            middle);
  EXPECT_GT(extent(keypose_picture({{kBox, Pose::Facing::kRight}}, kSize, kSize), kBlue).left,
            middle);
}

TEST(KeyposePicture, WithoutSubjectsIsBlack) {
  EXPECT_EQ(keypose_picture({}, kSize, kSize).max().item<int>(), 0);
}

TEST(KeyposePicture, AWiderPictureHasTheSameStrokesInTheSamePlaces) {
  const std::vector<Pose> poses = {{kBox, Pose::Facing::kRight}};
  const auto square = keypose_picture(poses, kSize, kSize);
  const auto wide = keypose_picture(poses, kSize, 3 * kSize);
  EXPECT_EQ(wide.sizes(), (std::vector<std::int64_t>{kSize, 3 * kSize, 3}));
  const auto apart = (wide.narrow(1, 0, kSize).to(torch::kInt16) - square.to(torch::kInt16)).abs();
  EXPECT_LE(apart.max().item<int>(), 2);  // rounding of shares of another side
  EXPECT_EQ(wide.narrow(1, kSize, 2 * kSize).max().item<int>(), 0);
}

TEST(PosesOf, AreTheBoxesOfTheDrawnSubjects) {
  const SyntheticSprites sprites;
  const Compositor compositor(make_world({.classes = 20}), sprites.folder());
  for (std::uint64_t i = 0; i < 6; ++i) {
    const auto layout = layout_of(compositor.world(), {.index = i, .canvas = i % 5});
    const auto drawn = compositor.draw(layout).subjects;
    const auto poses = poses_of(compositor, layout);
    ASSERT_EQ(poses.size(), drawn.size());
    for (std::size_t s = 0; s < poses.size(); ++s) {
      EXPECT_EQ(poses[s].box.left, drawn[s].box.left);
      EXPECT_EQ(poses[s].box.bottom, drawn[s].box.bottom);
      EXPECT_EQ(poses[s].facing == Pose::Facing::kRight, layout.placements[s].flip);
    }
  }
}

}  // namespace
}  // namespace mos::world
