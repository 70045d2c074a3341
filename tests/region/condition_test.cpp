#include "mos/region/condition.h"

#include <gmock/gmock.h>

#include "mos/base/error.h"
#include "tests/support/tiny_model.h"

namespace mos::region {
namespace {

TEST(WeightMap, LaterBoxesLieOverEarlierOnes) {
  Condition condition;
  condition.weight = 2.0;
  condition.boxes = {{{0.0, 0.0, 1.0, 0.5}, 0.5}, {{0.5, 0.25, 1.0, 1.0}, 3.0}};
  const auto map = weight_map(condition, 2, 4);
  const auto expected = torch::tensor({{0.5F, 0.5F, 2.0F, 2.0F}, {0.5F, 3.0F, 3.0F, 3.0F}});
  EXPECT_TRUE(map.equal(expected.view({1, 1, 2, 4})));
}

TEST(ConditionPicture, IsGreyForOneChannelAndInZeroToOne) {
  const auto red = torch::tensor({255, 0, 0}, torch::kUInt8).expand({4, 4, 3}).contiguous();
  const auto picture = condition_picture(red, 1, {8, 8}, "red.png");
  EXPECT_EQ(picture.sizes(), (std::vector<std::int64_t>{1, 1, 8, 8}));
  EXPECT_NEAR(picture.min().item<double>(), 76.0 / 255.0, 1e-6);  // Pillow: convert("L") is 76
  EXPECT_EQ(condition_picture(red, 3, {4, 4}, "red.png").max().item<double>(), 1.0);
}

TEST(ConditionPicture, GreyIsPillowsToTheLastBit) {
  const auto colours = torch::tensor({255, 0, 0, 0, 255, 0, 0, 0, 255, 10, 200, 30, 1, 2, 3});
  const auto row = colours.view({1, 5, 3}).to(torch::kUInt8);
  const auto grey = condition_picture(row, 1, {1, 5}, "colours.png") * 255.0;
  const auto expected = torch::tensor({76.0F, 150.0F, 29.0F, 124.0F, 2.0F});  // convert("L")
  EXPECT_TRUE(grey.flatten().round().equal(expected)) << grey;
}

TEST(ConditionPicture, OfAnotherAspectIsRefused) {
  const auto wide = torch::zeros({4, 8, 3}, torch::kUInt8);
  EXPECT_THROW(condition_picture(wide, 3, {8, 8}, "wide.png"), Error);
}

TEST(ControlScales, GuessModeRisesFromATenthInEqualRatios) {
  const auto scales = nn::control_scales(12, 0.5, true);
  ASSERT_EQ(scales.size(), 13U);
  EXPECT_NEAR(scales.front(), 0.05, 1e-12);
  EXPECT_NEAR(scales.back(), 0.5, 1e-12);
  EXPECT_NEAR(scales[1] / scales[0], scales[12] / scales[11], 1e-12);
}

/// A condition of constant features for a U-Net that is not there: only its timing is looked at.
std::vector<std::int64_t> active_calls(double start, double end, std::int64_t total) {
  LoadedCondition loaded{
      nn::T2IAdapter(nn::T2IAdapterConfig{.channels = {4}}), torch::zeros({1, 3, 16, 16}), {}};
  for (auto& parameter : std::get<nn::T2IAdapter>(loaded.adapter)->parameters()) {
    parameter.data().zero_();
  }
  loaded.condition.start = start;
  loaded.condition.end = end;
  const auto callback = residuals_of({loaded});
  std::vector<std::int64_t> active;
  for (std::int64_t i = 0; i < total; ++i) {
    if (!callback({.index = i, .total = total}).adapter.empty()) active.push_back(i);
  }
  return active;
}

TEST(Residuals, AreThereFromStartToEnd) {
  using ::testing::ElementsAre;
  EXPECT_THAT(active_calls(0.0, 1.0, 3), ElementsAre(0, 1, 2));
  EXPECT_THAT(active_calls(0.25, 0.75, 4), ElementsAre(1, 2));
  EXPECT_THAT(active_calls(0.5, 0.6, 4), ElementsAre());
}

TEST(Residuals, OfAControlNetWithoutPlacesSteerOnlyTheHalfWithThePrompt) {
  const auto model = tiny::model();
  nn::ControlNetConfig config;
  config.unet = model.unet->config();
  config.conditioning_embedding_out_channels = {4, 6};
  config.global_pool_conditions = true;
  nn::ControlNetModel controlnet(config);
  auto generator = seeded_generator(5);
  tiny::fill_randomly(*controlnet, generator);
  const torch::NoGradGuard no_grad;
  const auto callback = residuals_of({{controlnet, torch::ones({1, 3, 8, 8}), {}}});
  const auto residuals = callback({.input = torch::ones({2, 4, 4, 4}),
                                   .timestep = torch::full({1}, 9, torch::kInt64),
                                   .text = torch::ones({2, 12, 16}),
                                   .total = 1,
                                   .has_both_halves = true});
  for (const auto& features : residuals.control_down) {
    EXPECT_EQ(features[0].abs().max().item<double>(), 0.0);
    EXPECT_GT(features[1].abs().max().item<double>(), 0.0);
  }
}

TEST(ParseBoxWeights, ReadsTheAuthorsString) {
  const auto weights =
      parse_box_weights("[0, 0, 128, 192]-0.5|[64, 96, 256, 288]-1.25", {256, 384});
  ASSERT_EQ(weights.size(), 2U);
  EXPECT_EQ(weights[1].weight, 1.25);
  EXPECT_EQ(weights[1].box.left, 0.25);
  for (const char* wrong : {"0.5", "[0, 0, 1]-1", "[0, 0, 128, 192]", "[0, 0, 128, 192]-"}) {
    EXPECT_THROW(parse_box_weights(wrong, {256, 384}), Error) << wrong;
  }
}

TEST(ParseBoxWeights, NothingInItMeansNone) {
  for (const char* nothing : {"", "  "})
    EXPECT_TRUE(parse_box_weights(nothing, {256, 384}).empty());
}

}  // namespace
}  // namespace mos::region
