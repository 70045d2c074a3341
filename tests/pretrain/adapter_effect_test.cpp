#include "mos/pretrain/adapter_effect.h"

#include <gtest/gtest.h>

#include "mos/io/edges.h"

namespace mos::pretrain {
namespace {

using torch::indexing::Slice;
using world::Box;

constexpr std::int64_t kSide = 64;
const Box kBox{.top = 10, .left = 20, .bottom = 50, .right = 40};

/// Grey that darkens from top to bottom, as plain backgrounds do.
torch::Tensor plain() {
  const auto rows = torch::linspace(200, 160, kSide).view({kSide, 1, 1});
  return rows.expand({kSide, kSide, 3}).to(torch::kUInt8).contiguous();
}

torch::Tensor with_subject(const Box& box) {
  auto picture = plain();
  picture.index_put_({Slice(box.top, box.bottom), Slice(box.left, box.right)}, 0);
  return picture;
}

TEST(SubjectBox, IsWhatDiffersFromTheBackground) {
  const auto box = subject_box(with_subject(kBox));
  ASSERT_TRUE(box.has_value());
  EXPECT_EQ(box->top, kBox.top);
  EXPECT_EQ(box->left, kBox.left);
  EXPECT_EQ(box->bottom, kBox.bottom);
  EXPECT_EQ(box->right, kBox.right);
}

TEST(SubjectBox, ABackgroundAloneHasNone) { EXPECT_FALSE(subject_box(plain()).has_value()); }

TEST(BoxOverlap, IsTheSharedPartOfBoth) {
  EXPECT_DOUBLE_EQ(box_overlap(kBox, kBox), 1.0);
  auto moved = kBox;
  moved.left += 10;
  moved.right += 10;  // half of each is shared: 1/3 of what both cover
  EXPECT_DOUBLE_EQ(box_overlap(kBox, moved), 1.0 / 3.0);
  moved.left += 30;
  moved.right += 30;
  EXPECT_DOUBLE_EQ(box_overlap(kBox, moved), 0.0);
}

TEST(EdgeAgreement, FallsFromOneToZeroAsShapesPart) {
  const auto shifted = [](std::int64_t by) {
    auto box = kBox;
    box.left += by;
    box.right += by;
    return io::edge_picture(with_subject(box));
  };
  EXPECT_DOUBLE_EQ(edge_agreement(shifted(0), shifted(0)), 1.0);
  EXPECT_GT(edge_agreement(shifted(0), shifted(1)), 0.99);  // within the tolerance
  const double apart = edge_agreement(shifted(0), shifted(8));
  EXPECT_LT(apart, 0.6);  // the upright edges are lost
  EXPECT_GT(apart, 0.1);  // the level ones still lie over each other
  EXPECT_DOUBLE_EQ(edge_agreement(shifted(0), io::edge_picture(plain())), 0.0);
}

}  // namespace
}  // namespace mos::pretrain
