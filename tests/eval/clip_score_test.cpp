#include "mos/eval/clip_score.h"

#include <gtest/gtest.h>

#include <cmath>

#include "mos/base/error.h"

namespace mos::eval {
namespace {

torch::Tensor direction(double degrees) {
  const double angle = degrees * std::acos(-1.0) / 180.0;
  return torch::tensor({std::cos(angle), std::sin(angle)}, torch::kFloat64);
}

TEST(ImageAlignment, IsTheMeanCosineOverAllPairsAndOverTheFirstReference) {
  const auto generated = torch::stack({direction(0), direction(60)});
  const auto references = torch::stack({direction(0), direction(60)});
  const auto alignment = image_alignment(generated, references);
  EXPECT_NEAR(alignment.all_pairs, (1.0 + 0.5 + 0.5 + 1.0) / 4.0, 1e-12);
  EXPECT_NEAR(alignment.first_reference, (1.0 + 0.5) / 2.0, 1e-12);
}

TEST(ImageAlignment, OppositeDirectionsCountAsZeroNotNegative) {
  const auto alignment =
      image_alignment(direction(180).unsqueeze(0), torch::stack({direction(0), direction(180)}));
  EXPECT_NEAR(alignment.all_pairs, 0.5, 1e-12);
  EXPECT_NEAR(alignment.first_reference, 0.0, 1e-12);
}

TEST(LeaveOneOutAlignment, IsTheMeanCosineWithTheOthers) {
  // cos 60° between the first two; opposite directions and 120° count as nothing.
  const auto pictures = torch::stack({direction(0), direction(60), direction(180)});
  EXPECT_NEAR(leave_one_out_alignment(pictures), 2.0 * 0.5 / 6.0, 1e-12);
  EXPECT_THROW(leave_one_out_alignment(pictures.narrow(0, 0, 1)), Error);
}

TEST(TextAlignment, IsClipScore) {
  EXPECT_NEAR(text_alignment(direction(60).unsqueeze(0), direction(0)), 2.5 * 0.5, 1e-12);
}

TEST(BleedingMargin, IsPositiveForACropOfItsOwnConceptAndNegativeForAnother) {
  const std::vector<torch::Tensor> references = {direction(0).unsqueeze(0),
                                                 direction(90).unsqueeze(0)};
  const auto crop = direction(30).unsqueeze(0);
  EXPECT_NEAR(bleeding_margin(crop, 0, references), std::sqrt(3.0) / 2.0 - 0.5, 1e-12);
  EXPECT_NEAR(bleeding_margin(crop, 1, references), 0.5 - std::sqrt(3.0) / 2.0, 1e-12);
}

TEST(BleedingMargin, NeedsAnotherConceptToCompareWith) {
  const std::vector<torch::Tensor> references = {direction(0).unsqueeze(0)};
  EXPECT_THROW(bleeding_margin(direction(0).unsqueeze(0), 0, references), Error);
}

TEST(ClipPixels, TakesTheCentreOfWidePicturesAndNormalises) {
  auto picture = torch::zeros({1, 4, 8, 3}, torch::kUInt8);
  picture.slice(2, 2, 6).fill_(255);  // white in the middle, black at the sides
  const auto pixels = clip_pixels(picture, 2);
  ASSERT_EQ(pixels.sizes(), (std::vector<std::int64_t>{1, 3, 2, 2}));
  EXPECT_NEAR(pixels[0][0][0][0].item<double>(), (1.0 - 0.48145466) / 0.26862954, 1e-5);
  EXPECT_NEAR(pixels[0][2][1][1].item<double>(), (1.0 - 0.40821073) / 0.27577711, 1e-5);
}

}  // namespace
}  // namespace mos::eval
