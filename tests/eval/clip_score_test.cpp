#include "mos/eval/clip_score.h"

#include <gmock/gmock.h>

#include <cmath>
#include <utility>

#include "mos/base/error.h"
#include "mos/base/file.h"
#include "tests/support/errors.h"
#include "tests/support/temp_dir.h"

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

TEST(BleedingMargin, OfEachCropIsAgainstTheConceptThatThisCropLooksMostLike) {
  const std::vector<torch::Tensor> references = {
      direction(0).unsqueeze(0), direction(90).unsqueeze(0), direction(-90).unsqueeze(0)};
  const auto crops = torch::stack({direction(30), direction(-60)});
  const auto margins = margin_of_each(crops, 0, references);
  EXPECT_NEAR(margins[0].item<double>(), std::sqrt(3.0) / 2.0 - 0.5, 1e-12);
  EXPECT_NEAR(margins[1].item<double>(), 0.5 - std::sqrt(3.0) / 2.0, 1e-12);
  EXPECT_THROW(margin_of_each(crops, 0, {references.data(), 1}), Error);
}

TEST(AlignmentOfEach, HasTheMeansOfAllPicturesTogether) {
  const auto generated = torch::stack({direction(0), direction(60), direction(170)});
  const auto references = torch::stack({direction(0), direction(60)});
  const auto whole = image_alignment(generated, references);
  const auto each = alignment_of_each(generated, references);
  EXPECT_NEAR(each.all_pairs.mean().item<double>(), whole.all_pairs, 1e-12);
  EXPECT_NEAR(each.first_reference.mean().item<double>(), whole.first_reference, 1e-12);
  const auto text = direction(20);
  EXPECT_NEAR(text_alignment_of_each(generated, text).mean().item<double>(),
              text_alignment(generated, text), 1e-12);
}

TEST(ClipScorer, SaysWhatABaseModelWithoutOneNeeds) {
  const TempDir base;
  try {
    ClipScorer::load_judge(base.path());
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kIo);
    EXPECT_THAT(error.what(), testing::HasSubstr("with --clip"));
  }
}

TEST(ClipScorer, SaysThatABaseModelIsNotThere) {
  const TempDir folder;
  const auto base = folder / "absent";
  const auto message = test::message_of(ErrorKind::kIo, [&] { ClipScorer::load_judge(base); });
  EXPECT_THAT(message,
              testing::HasSubstr("cannot load the model " + base.string() + ": there is no such"));
}

TEST(ClipScorer, NamesTheConfigThatIsWrong) {
  const TempDir folder;
  write_text_file(folder / "config.json", R"({"projection_dim": -1})");
  try {
    ClipScorer::load(folder.path(), folder.path());
    FAIL();
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), testing::HasSubstr((folder / "config.json").string()));
  }
}

}  // namespace
}  // namespace mos::eval
