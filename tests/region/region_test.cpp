#include "mos/region/region.h"

#include <fmt/core.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "mos/base/error.h"
#include "mos/region/new_scene.h"
#include "tests/support/errors.h"

namespace mos::region {
namespace {

using test::kind_of;
using test::message_of;
using ::testing::HasSubstr;

constexpr Canvas kCanvas{256, 384};

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

TEST(Box, ANumberAboveOneAmongFractionsIsAMistakeThatIsNamed) {
  const std::pair<std::vector<double>, const char*> mistakes[] = {
      {{0, 0, 1.2, 0.5}, "box [0, 0, 1.2, 0.5]: 1.2 is above 1"},
      {{0.1, 0.1, 1.5, 1.05}, "did you mean 1?"},
      {{0.1, 0.1, 50, 0.9}, "50 is above 1"}};
  for (const auto& [numbers, sentence] : mistakes) {
    EXPECT_THAT(message_of(ErrorKind::kUsage, [&] { make_box(numbers, kCanvas); }),
                HasSubstr(sentence));
  }
  EXPECT_DOUBLE_EQ(make_box({0.5, 10, 20.5, 30}, kCanvas).top, 0.5 / 256);  // half a pixel
}

TEST(Box, OnFeaturesTakesOnlyPositionsThatLieInside) {
  const auto box = on_features({.top = 0.1, .left = 0.05, .bottom = 0.8, .right = 0.55}, 8, 12);
  EXPECT_EQ(box.top, 1);
  EXPECT_EQ(box.left, 1);
  EXPECT_EQ(box.bottom, 6);
  EXPECT_EQ(box.right, 6);
  EXPECT_TRUE(on_features({.top = 0.3, .left = 0.3, .bottom = 0.31, .right = 0.32}, 8, 12).empty());
}

TEST(Box, OnTheGridHasItsPositionsWhateverRoundingMakesOfItsFractions) {
  for (std::int64_t size = 1; size <= 128; ++size) {
    for (std::int64_t from = 0; from < size; ++from) {
      const auto share = [size](std::int64_t at) {
        return static_cast<double>(at) / static_cast<double>(size);
      };
      const Box one{share(from), share(from), share(from + 1), share(from + 1)};
      const auto inside = on_features(one, size, size);
      ASSERT_EQ(inside.top, from) << size;
      ASSERT_EQ(inside.bottom, from + 1) << size;
      ASSERT_EQ(inside.left, from) << size;
      ASSERT_EQ(inside.right, from + 1) << size;
    }
  }
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

TEST(PromptRewrite, NamesARegionThatIsEmpty) {
  for (const char* text : {"", " ", "|[a]-*-[]-*-[0, 0, 1, 1]"}) {
    EXPECT_THAT(message_of(ErrorKind::kUsage, [&] { parse_prompt_rewrite(text, kCanvas); }),
                HasSubstr("region 1 of --regions is empty"));
  }
}

TEST(SceneFile, WhatIsNoObjectIsToldWhatItShouldBe) {
  const auto refused = [](const char* text) {
    return message_of(ErrorKind::kUsage,
                      [&] { scene_from_json(parse_json(text, "t"), "t", kCanvas); });
  };
  EXPECT_THAT(refused("[]"), HasSubstr("t must hold a JSON object of a scene"));
  EXPECT_THAT(refused(R"({"regions": [[]]})"),
              HasSubstr("region 1 must hold a JSON object of a region"));
  EXPECT_THAT(refused(R"({"conditions": [1]})"), HasSubstr("JSON object of a condition"));
  EXPECT_THAT(refused(R"({"regions": [{"prompt": "a", "drawing": [1]}]})"),
              HasSubstr("JSON object of a stroke"));
}

TEST(SceneFile, NamesAndPlacesOfNothingAreRefused) {
  for (const char* key : {"name", "mask", "subject", "polygon", "drawing"}) {
    const bool is_list = std::string(key) == "polygon" || std::string(key) == "drawing";
    Json region = {{"prompt", "a"}, {"box", {0, 0, 1, 1}}};
    region[key] = is_list ? Json::array() : Json("");
    const Json scene = {{"regions", Json::array({region})}};
    EXPECT_THAT(message_of(ErrorKind::kUsage, [&] { scene_from_json(scene, "t", kCanvas); }),
                HasSubstr(fmt::format("region 1: \"{}\" is empty", key)));
  }
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

std::string refusal(const std::string& regions) {
  return message_of(ErrorKind::kUsage, [&] {
    const auto json = parse_json("{\"regions\": " + regions + "}", "t");
    check_new_scene(scene_from_json(json, "t", kCanvas));
  });
}

TEST(SceneFile, ARegionThatIsNowhereIsNamed) {
  for (const char* place : {"\"box\": []", "\"drawing\": []", "\"background\": false"}) {
    const auto text = fmt::format(R"([{{"prompt": "a cat", {}}}])", place);
    EXPECT_EQ(refusal(text),
              "t: region 1 (\"a cat\") is nowhere: give it a box, a mask, a polygon, a drawing or "
              "the background");
  }
}

TEST(SceneFile, FractionsAboveOneAreMistakesInEveryShape) {
  EXPECT_THAT(refusal(R"([{"prompt": "a", "box": [0, 0, 1.2, 0.5]}])"),
              HasSubstr("t: region 1: box [0, 0, 1.2, 0.5]: 1.2 is above 1"));
  EXPECT_THAT(refusal(R"([{"prompt": "a", "polygon": [[-60, -60], [-10, -60], [-10, 1]]}])"),
              HasSubstr("the point [-60, -60] lies outside"));
  EXPECT_THAT(refusal(R"([{"prompt": "a", "polygon": [[0, 0], [0, 1.2], [0.5, 0.5]]}])"),
              HasSubstr("the polygon: 1.2 is above 1"));
  EXPECT_THAT(
      refusal(R"([{"prompt": "a", "drawing": [{"points": [[0, 0], [0, 0.5], [1.5, 1]]}]}])"),
      HasSubstr("the drawing: 1.5 is above 1"));
}

TEST(SceneFile, TwoRegionsOfOneNameAndTwoBackgroundsAreReadButNotPaintedAnew) {
  EXPECT_EQ(refusal(R"([{"prompt": "a", "box": [0,0,1,1], "name": "x"},
                        {"prompt": "b", "box": [0,0,1,1]},
                        {"prompt": "c", "box": [0,0,1,1], "name": "x"}])"),
            "regions 1 and 3 are both called \"x\" (one without a name is called its number); give "
            "each a name of its own");
  EXPECT_THAT(refusal(R"([{"prompt": "a", "box": [0,0,1,1], "name": "2"},
                          {"prompt": "b", "box": [0,0,1,1]}])"),
              HasSubstr("regions 1 and 2 are both called \"2\""));
  EXPECT_THAT(refusal(R"([{"prompt": "a", "background": true},
                          {"prompt": "b", "background": true}])"),
              HasSubstr("regions 1 and 2 are both the background"));
}

}  // namespace
}  // namespace mos::region
