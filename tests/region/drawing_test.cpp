#include "mos/region/drawing.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <numbers>

#include "mos/base/error.h"
#include "mos/region/region_mask.h"

namespace mos::region {
namespace {

using testing::HasSubstr;
using torch::Tensor;

constexpr Canvas kDrawn{32, 64};

Scene scene_with_drawing(const std::string& drawing) {
  return scene_from_json(
      parse_json(R"({"regions": [{"prompt": "a", "drawing": )" + drawing + "}]}", "scene"), "scene",
      kDrawn);
}

Tensor mask_of(const std::string& drawing) {
  return region_masks(scene_with_drawing(drawing), kDrawn)[0];
}

double area(const Tensor& mask) { return mask.sum().item<double>(); }

TEST(Drawings, ABrushDrawsAsWideAsItIs) {
  // A line of 20 pixels with half a disc at each end.
  const auto line = mask_of(R"([{"points": [[16, 20], [16, 40]], "width": 6}])");
  EXPECT_NEAR(area(line), 20 * 6 + std::numbers::pi * 9, 1.0);
  EXPECT_EQ(line[15][30].item<float>(), 1.0F);
  EXPECT_EQ(line[20][30].item<float>(), 0.0F);
  const auto dot = mask_of(R"([{"points": [[16, 32]], "width": 10}])");
  EXPECT_NEAR(area(dot), std::numbers::pi * 25, 1.0);
}

TEST(Drawings, ABendIsNotDrawnTwice) {
  const auto bend = mask_of(R"([{"points": [[16, 20], [16, 40], [16, 20]], "width": 6}])");
  EXPECT_TRUE(torch::equal(bend, mask_of(R"([{"points": [[16, 20], [16, 40]], "width": 6}])")));
}

TEST(Drawings, AnAreaIsAPolygonAndErasingTakesAwayWhatWasBefore) {
  const auto whole = mask_of(R"([{"points": [[0, 0], [0, 32], [32, 32], [32, 0]]}])");
  EXPECT_EQ(area(whole), 32 * 32);
  const auto hole = mask_of(R"([{"points": [[0, 0], [0, 32], [32, 32], [32, 0]]},
                                {"points": [[16, 16]], "width": 8, "erase": true},
                                {"points": [[16, 16]], "width": 2}])");
  EXPECT_NEAR(area(hole), 32 * 32 - std::numbers::pi * 16 + std::numbers::pi, 1.0);
  EXPECT_EQ(hole[16][18].item<float>(), 0.0F);
}

TEST(Drawings, FractionsAndPixelsNameTheSamePlacesAndComeBackFromRecords) {
  const auto pixels = scene_with_drawing(R"([{"points": [[8, 16], [24, 48]], "width": 8}])");
  const auto shares =
      scene_with_drawing(R"([{"points": [[0.25, 0.25], [0.75, 0.75]], "width": 0.25}])");
  EXPECT_TRUE(torch::equal(region_masks(pixels, kDrawn)[0], region_masks(shares, kDrawn)[0]));
  const auto again = scene_from_json(scene_to_json(pixels), "record", kDrawn);
  EXPECT_EQ(scene_to_json(again), scene_to_json(pixels));
  EXPECT_FALSE(pixels.is_plain());
}

TEST(Drawings, WhatCannotBeDrawnIsNamed) {
  const auto message = [](const std::string& drawing) -> std::string {
    try {
      scene_with_drawing(drawing);
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::kUsage);
      return error.what();
    }
    return "was taken";
  };
  EXPECT_THAT(message(R"([{"points": [[0, 0], [9, 9]]}])"), HasSubstr("3 to"));  // no area
  EXPECT_THAT(message(R"([{"points": [[0, 0, 1]], "width": 3}])"), HasSubstr("[top, left]"));
  EXPECT_THAT(message(R"([{"points": [[0, 99]], "width": 3}])"), HasSubstr("outside the canvas"));
  EXPECT_THAT(message(R"([{"points": [[0, 9]], "width": -3}])"), HasSubstr("width is -3"));
  EXPECT_THAT(message(R"([{"points": [[0, 9]], "width": 99}])"), HasSubstr("wider"));
  EXPECT_THAT(message(R"([{"points": [[0.5, 0.3]], "width": 9}])"), HasSubstr("both in one"));
  EXPECT_THAT(message(R"([{"points": [[0, 9]], "colour": 9}])"), HasSubstr("colour"));
  EXPECT_THAT(message(R"({"points": 3})"), HasSubstr("list of strokes"));
}

}  // namespace
}  // namespace mos::region
