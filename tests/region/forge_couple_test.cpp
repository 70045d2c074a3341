#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "mos/region/foreign_record.h"

namespace mos::region {
namespace {

using testing::ContainsRegex;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

/// What Forge writes: values with commas, colons or line breaks are JSON strings.
std::string forge(const std::string& prompt, const std::string& fields) {
  return prompt +
         "\nNegative prompt: bad\nSteps: 9, Sampler: Euler, Size: 64x64, forge_couple: True, "
         "forge_couple_separator: \"\\n\", " +
         fields + ", Version: f2";
}

TEST(ForgeCouple, TilesAreRegionsAndTheirBackgroundHoldsInAll) {
  const auto plain = read_parameters(forge("a cat\n\na dog\na cow",
                                           "forge_couple_mode: Basic, forge_couple_direction: "
                                           "Vertical, forge_couple_background: None"),
                                     "x");
  const auto& regions = plain.scene.at("regions");
  ASSERT_EQ(regions.size(), 3U);
  EXPECT_EQ(regions[1].at("prompt"), "a dog");
  EXPECT_EQ(regions[1].at("box"), Json({1.0 / 3.0, 0.0, 2.0 / 3.0, 1.0}));
  EXPECT_EQ(plain.prompt, "");
  EXPECT_EQ(plain.scene.at("root_negative_prompt"), "bad");
  EXPECT_THAT(plain.left_out, IsEmpty());
  const auto first = read_parameters(
      forge("sea\na dog\na cow",
            "forge_couple_mode: Basic, forge_couple_direction: Horizontal, "
            "forge_couple_background: First Line, forge_couple_background_weight: 0.25"),
      "x");
  EXPECT_EQ(first.prompt, "sea");
  EXPECT_DOUBLE_EQ(first.scene.at("base_ratio"), 0.2);  // of tiles that weigh 1
  EXPECT_EQ(first.scene.at("regions")[1].at("box"), Json({0.0, 0.5, 1.0, 1.0}));
}

TEST(ForgeCouple, LinesAreOfA1111AndFilesAloneAreNone) {
  const auto record = read_parameters(forge("<lora:x:0.5>\na {dog|cow}\na cat++",
                                            "forge_couple_mode: Basic, forge_couple_direction: "
                                            "Vertical, forge_couple_background: None"),
                                      "x");
  const auto& regions = record.scene.at("regions");
  ASSERT_EQ(regions.size(), 2U);
  EXPECT_EQ(regions[0].at("prompt"), "a \\{dog|cow}");
  EXPECT_EQ(regions[1].at("prompt"), "a cat\\+\\+");
  EXPECT_THAT(record.loras, ElementsAre(text::LoraTag{"x", 0.5}));
}

TEST(ForgeCouple, RowsOfTheMappingAreBoxes) {
  const auto record = read_parameters(
      forge("sea\na dog <lora:x:0.5>\na cow",
            "forge_couple_mode: Advanced, forge_couple_mapping: \"[[0, 1, 0, 1, 1.0], [0.0, 0.5, "
            "0.25, 1.0, 0.7], [0.5, 1.0, 0.25, 1.0, 1.3]]\""),
      "x");
  EXPECT_EQ(record.prompt, "sea");
  EXPECT_EQ(record.scene.at("base_ratio"), 0.5);
  const auto& regions = record.scene.at("regions");
  ASSERT_EQ(regions.size(), 2U);
  EXPECT_EQ(regions[0].at("box"), Json({0.25, 0.0, 1.0, 0.5}));
  EXPECT_EQ(regions[0].at("weight"), 0.7);
  EXPECT_THAT(record.left_out, ElementsAre(HasSubstr("1.3")));
  const Canvas canvas{64, 64};
  EXPECT_EQ(scene_from_json(record.scene, "x", canvas).regions[1].prompt, "a cow");
}

TEST(ForgeCouple, WhatIsNotInThePictureIsNamedAndThePromptKept) {
  for (const char* fields : {"forge_couple_mode: Mask", "forge_couple_mode: Advanced",
                             "forge_couple_mode: Advanced, forge_couple_mapping: \"[[1, 2]]\""}) {
    const auto record = read_parameters(forge("a cat\na dog", fields), "x");
    EXPECT_EQ(record.prompt, "a cat\na dog");
    EXPECT_FALSE(record.scene.contains("regions"));
    EXPECT_EQ(record.left_out.size(), 1U);
  }
}

/// As 4.0.2 writes it: no quotes, and the separator's line break as a backslash and an n.
std::string forge_4(const std::string& prompt, const std::string& fields) {
  return prompt +
         "\nSteps: 9, Sampler: Euler, Size: 64x64, forge_couple: True, "
         "forge_couple_compatibility: False, forge_couple_mode: Basic, " +
         fields + ", forge_couple_direction: Horizontal, forge_couple_common_parser: off";
}

TEST(ForgeCouple, EscapesOfItsSeparatorAreReadAsThere) {
  for (const auto& [separator, prompt] : std::vector<std::pair<std::string, std::string>>{
           {"\\n", "sea\na dog\na cow"},
           {"\\n\\n", "sea\n\na dog\n\na cow"},
           {"\\tAND\\t", "sea AND a dog AND a cow"},
           {"AND", "sea AND a dog AND a cow"},
           {"\\t", "sea\na dog\na cow"}}) {  // blank: a line break
    const auto record =
        read_parameters(forge_4(prompt, "forge_couple_separator: " + separator +
                                            ", forge_couple_background: First Line"),
                        "x");
    EXPECT_EQ(record.prompt, "sea") << separator;
    EXPECT_THAT(record.left_out, IsEmpty()) << separator;
    ASSERT_EQ(record.scene.at("regions").size(), 2U) << separator;
    EXPECT_EQ(record.scene.at("regions")[0].at("prompt"), "a dog");
  }
}

TEST(ForgeCouple, TooFewLinesAndNoRegionAreSaidAndThePromptKept) {
  for (const auto& [text, why] : std::vector<std::pair<std::string, std::string>>{
           {forge_4("a cat", "forge_couple_background: None"), "2 lines.*\"\\\\n\".*has 1"},
           {forge_4("a cat\na dog", "forge_couple_background: First Line"), "3 lines.*has 2"},
           {forge_4("a cat\na dog\na cow",
                    "forge_couple_background: None, forge_couple_separator: AND"),
            "\"AND\".*has 1"},
           {forge_4("", "forge_couple_background: None"), "has 0"},
           {"a cat\na dog\nSteps: 9, forge_couple: ERROR", "mistake"},
           {forge("a cat\na dog",
                  "forge_couple_mode: Advanced, forge_couple_mapping: \"[[0, 1, 0, 1, 1], [0, 0.5, "
                  "0, 1, 0]]\""),
            "none beside the background"}}) {
    const auto record = read_parameters(text, "x");
    EXPECT_EQ(
        record.prompt,
        text.substr(0, text.find(text.find("Negative") == text.npos ? "\nSteps" : "\nNegative")));
    EXPECT_FALSE(record.scene.contains("regions"));
    EXPECT_THAT(record.left_out, ElementsAre(ContainsRegex(why)));
  }
}

TEST(ForgeCouple, FieldsThatAreNotKnownHereAreNamed) {
  const auto record = read_parameters(forge("a cat\na dog",
                                            "forge_couple_direction: Diagonal, forge_couple_x: 3, "
                                            "forge_couple_common_parser: off"),
                                      "x");
  EXPECT_THAT(record.left_out,
              ElementsAre("forge_couple_direction: Diagonal", "forge_couple_x: 3"));
}

}  // namespace
}  // namespace mos::region
