#include <gtest/gtest.h>

#include <span>

#include "mos/base/error.h"
#include "mos/region/auto_regions.h"
#include "mos/region/sample.h"
#include "tests/support/difference.h"
#include "tests/support/tiny_model.h"

/// Regions that are painted alone at first, and regions that are found.
namespace mos::region {
namespace {

using test::difference;
using torch::Tensor;

SampleOptions quick() {
  SampleOptions options;
  options.steps = 4;
  options.guidance_scale = 3.0;
  options.height = options.width = 32;
  options.seed = 4;
  return options;
}

TEST(HardBinding, ARegionOfTheWholeCanvasIsItsPromptAlone) {
  auto model = tiny::model();
  const concepts::ConceptTokens tokens(model.unet->cross_attention_count());
  auto options = quick();
  Scene scene{"cat", "d", {}, std::nullopt};
  const auto alone = sample_latents(model, tokens, scene, options);
  scene = {"a b", "c", {{"cat", "d", Box{}, 1.0}}, std::nullopt};
  options.sampler.hard_binding = 4;
  EXPECT_LT(difference(sample_latents(model, tokens, scene, options), alone), 1e-4);
}

TEST(HardBinding, WhatIsPaintedAloneIsPerturbedLikeTheRest) {
  auto model = tiny::model();
  const concepts::ConceptTokens tokens(model.unet->cross_attention_count());
  auto options = quick();
  options.sampler.perturbed_attention = 0.9;
  Scene scene{"cat", "d", {}, std::nullopt};
  const auto alone = sample_latents(model, tokens, scene, options);
  scene = {"a b", "c", {{"cat", "d", Box{}, 1.0}}, std::nullopt};
  options.sampler.hard_binding = 4;
  const auto bound = sample_latents(model, tokens, scene, options);
  EXPECT_LT(difference(bound, alone), 1e-4);
  options.sampler.perturbed_attention = 0.0;
  EXPECT_GT(difference(sample_latents(model, tokens, scene, options), bound), 1e-3);
}

TEST(HardBinding, AtFirstARegionKnowsNothingOfTheRest) {
  auto model = tiny::model();
  const concepts::ConceptTokens tokens(model.unet->cross_attention_count());
  auto options = quick();
  options.sampler.hard_binding = 4;
  const auto left_of = [&](const std::string& context) {
    const Scene scene{context, "", {{"cat", "d", Box{.right = 0.5}, 1.0}}, std::nullopt};
    return sample_latents(model, tokens, scene, options).slice(3, 0, 8);
  };
  EXPECT_LT(difference(left_of("a"), left_of("b c")), 1e-4);
  options.sampler.hard_binding = 0;
  EXPECT_GT(difference(left_of("a"), left_of("b c")), 1e-3);
}

TEST(HardBinding, LastsItsStepsHoweverOftenAStepCallsTheNetworkAndWhereverItBegins) {
  auto model = tiny::model();
  const concepts::ConceptTokens tokens(model.unet->cross_attention_count());
  auto options = quick();
  const Scene scene{"a", "", {{"cat", "d", Box{.right = 0.5}, 1.0}}, std::nullopt};
  const auto painted = [&](std::int64_t steps) {
    options.sampler.hard_binding = steps;
    PaintInputs inputs;
    inputs.start.pixels = torch::full({32, 32, 3}, 160, torch::kUInt8);
    return sample_latents(model, tokens, scene, options, inputs);
  };
  options.pictures.init = "a picture";
  options.pictures.strength = 0.5;  // the last two of four steps
  EXPECT_GT(difference(painted(1), painted(0)), 1e-4);
  options.scheduler = "heun";
  EXPECT_GT(difference(painted(2), painted(1)), 1e-4);
  EXPECT_TRUE(torch::equal(painted(3), painted(2)));
}

/// Layers that see the cat at the left and the dog at the right, on features of 4 × 8.
Seen two_halves() {
  const nn::FeatureSize size{4, 8};
  auto left = torch::zeros({4, 8});
  left.slice(1, 0, 3).fill_(1.0);
  auto right = torch::zeros({4, 8});
  right.slice(1, 4, 8).fill_(1.0);
  SeenLayer cross{.size = size};
  cross.texts = {torch::stack({torch::ones(32), left.flatten(), right.flatten()}, 1).unsqueeze(0)};
  SeenLayer self{.size = size};
  self.place.is_cross = false;
  self.output = torch::stack({left.flatten(), right.flatten()}, 1);
  Seen seen;
  seen.layers = {cross, self};
  seen.subjects = {{"cat", 0, {1}, {}}, {"dog", 0, {2}, {}}};
  return seen;
}

TEST(FoundRegions, AreWhereTheirSubjectsAreSeen) {
  const auto boxes = find_boxes(two_halves());
  ASSERT_EQ(boxes.size(), 2u);
  EXPECT_EQ(boxes[0].left, 0.0);
  EXPECT_GE(boxes[0].right, 3.0 / 8);
  EXPECT_LE(boxes[0].right, 4.0 / 8);  // what is between is nobody's
  EXPECT_EQ(boxes[1].left, 4.0 / 8);
  EXPECT_EQ(boxes[1].right, 1.0);
  EXPECT_EQ(boxes[1].top, 0.0);
  EXPECT_EQ(boxes[1].bottom, 1.0);
}

TEST(FoundRegions, HaveABoxForEachSubjectOfThePrompt) {
  auto model = tiny::model();
  const concepts::ConceptTokens tokens(model.unet->cross_attention_count());
  auto options = quick();
  options.sampler.auto_regions = true;
  options.sampler.subjects = {"cat", "b"};
  const Scene scene{"a cat b", "", {}, std::nullopt};
  const auto regions = find_regions(model, tokens, scene, options);
  ASSERT_EQ(regions.size(), 2u);
  EXPECT_EQ(regions[0].subject, "cat");
  for (const auto& region : regions) {
    EXPECT_LT(region.box.left, region.box.right);
    EXPECT_LT(region.box.top, region.box.bottom);
  }
  options.sampler.hard_binding = 2;  // of the picture, whose regions are not known yet
  EXPECT_EQ(find_regions(model, tokens, scene, options).size(), 2u);
  PaintInputs inputs;
  inputs.start.pixels = torch::full({32, 32, 3}, 160, torch::kUInt8);
  options.pictures.strength = 0.25;  // a single step of them
  EXPECT_EQ(find_regions(model, tokens, scene, options, inputs).size(), 2u);
  options.sampler.subjects = {"cat"};
  EXPECT_THROW(find_regions(model, tokens, scene, options), Error);
}

}  // namespace
}  // namespace mos::region
