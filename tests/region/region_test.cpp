#include "mos/region/region.h"

#include <gtest/gtest.h>

#include <functional>

#include "mos/base/error.h"

namespace mos::region {
namespace {

constexpr Canvas kCanvas{256, 384};

ErrorKind kind_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const Error& error) {
    return error.kind();
  }
  ADD_FAILURE() << "nothing was thrown";
  return ErrorKind::kIo;
}

TEST(Box, PixelsAndFractionsNameTheSamePlace) {
  const auto pixels = make_box({64, 96, 128, 192}, kCanvas);
  const auto fractions = make_box({0.25, 0.25, 0.5, 0.5}, kCanvas);
  EXPECT_DOUBLE_EQ(pixels.top, fractions.top);
  EXPECT_DOUBLE_EQ(pixels.left, fractions.left);
  EXPECT_DOUBLE_EQ(pixels.bottom, fractions.bottom);
  EXPECT_DOUBLE_EQ(pixels.right, fractions.right);
}

TEST(Box, OutsideTheCanvasOrWithoutAreaIsRefused) {
  const std::vector<std::vector<double>> bad = {
      {0, 0, 257, 10}, {-1, 0, 10, 10}, {10, 10, 10, 20}, {20, 0, 10, 5}, {0, 0, 10}};
  for (const auto& numbers : bad) {
    EXPECT_EQ(kind_of([&] { make_box(numbers, kCanvas); }), ErrorKind::kUsage);
  }
}

TEST(Box, OnFeaturesTakesOnlyPositionsThatLieInside) {
  const auto box = on_features({.top = 0.1, .left = 0.05, .bottom = 0.8, .right = 0.55}, 8, 12);
  EXPECT_EQ(box.top, 1);
  EXPECT_EQ(box.left, 1);
  EXPECT_EQ(box.bottom, 6);
  EXPECT_EQ(box.right, 6);
  EXPECT_TRUE(on_features({.top = 0.3, .left = 0.3, .bottom = 0.31, .right = 0.32}, 8, 12).empty());
}

TEST(PromptRewrite, ReadsTheAuthorsString) {
  const auto regions = parse_prompt_rewrite(
      "[a <hina1> <hina2>, near a forest]-*-[lowres, bad]-*-[12, 20, 256, 140]|"
      "[a <kaori1> <kaori2>]-*-[]-*-[18, 110, 240, 260]",
      kCanvas);
  ASSERT_EQ(regions.size(), 2u);
  EXPECT_EQ(regions[0].prompt, "a <hina1> <hina2>, near a forest");
  EXPECT_EQ(regions[0].negative_prompt, "lowres, bad");
  EXPECT_DOUBLE_EQ(regions[0].box.top, 12.0 / 256);
  EXPECT_DOUBLE_EQ(regions[0].box.right, 140.0 / 384);
  EXPECT_EQ(regions[1].negative_prompt, "");
}

TEST(PromptRewrite, NamesThePartThatIsWrong) {
  EXPECT_EQ(kind_of([] { parse_prompt_rewrite("[a]-*-[0,0,1,1]", kCanvas); }), ErrorKind::kUsage);
  EXPECT_EQ(kind_of([] { parse_prompt_rewrite("[a]-*-[b]-*-[0,0,x,1]", kCanvas); }),
            ErrorKind::kUsage);
  EXPECT_EQ(kind_of([] { parse_prompt_rewrite("a-*-[b]-*-[0,0,1,1]", kCanvas); }),
            ErrorKind::kUsage);
}

TEST(SceneFile, SurvivesARoundTrip) {
  const auto json = parse_json(R"({"prompt": "a beach", "height": 128, "width": 256, "regions": [
      {"prompt": "a <a1>", "negative_prompt": "blur", "box": [0, 0, 0.5, 0.5], "weight": 0.5},
      {"prompt": "a <b1>", "box": [64, 128, 128, 256]}]})",
                               "test");
  const auto scene = scene_from_json(json, "test", {});
  const auto again = scene_from_json(scene_to_json(scene), "again", {});
  ASSERT_EQ(again.regions.size(), 2u);
  EXPECT_EQ(again.prompt, "a beach");
  EXPECT_EQ(again.canvas->width, 256);
  EXPECT_DOUBLE_EQ(again.regions[0].weight, 0.5);
  EXPECT_DOUBLE_EQ(again.regions[1].box.left, 0.5);
}

TEST(SceneFile, UnknownKeysEmptyPromptsAndImpossibleWeightsAreRefused) {
  for (const char* text :
       {R"({"promt": "x"})", R"({"regions": [{"prompt": "", "box": [0,0,1,1]}]})",
        R"({"regions": [{"prompt": "a", "box": [0,0,1,1], "weight": 2}]})", R"({"height": 64})"}) {
    EXPECT_EQ(kind_of([&] { scene_from_json(parse_json(text, "t"), "t", kCanvas); }),
              ErrorKind::kUsage)
        << text;
  }
}

}  // namespace
}  // namespace mos::region
