#include "mos/region/masked_attention.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <limits>

#include "mos/base/error.h"
#include "mos/base/random.h"
#include "mos/io/image.h"
#include "mos/region/region_mask.h"
#include "mos/region/regional_attention.h"
#include "tests/support/difference.h"
#include "tests/support/errors.h"
#include "tests/support/temp_dir.h"
#include "tests/support/tiny_model.h"

namespace mos::region {
namespace {

using test::difference;
using torch::Tensor;

Scene scene_with_regions(const std::string& regions) {
  return scene_from_json(
      parse_json(R"({"prompt":"sea","height":32,"width":64,"regions":)" + regions + "}", "scene"),
      "scene", {32, 64});
}

/// Cross-attention and self-attention of 8 channels on features of 4 × 6, for latents of that size.
class Masked : public testing::Test {
 protected:
  static constexpr std::int64_t kHeight = 4, kWidth = 6, kWide = 8, kText = 5;

  Masked() {
    tiny::fill_randomly(*cross_, generator_);
    tiny::fill_randomly(*self_, generator_);
  }

  Tensor draw(at::IntArrayRef shape) { return randn(shape, generator_); }

  static Tensor box(std::int64_t top, std::int64_t left, std::int64_t bottom, std::int64_t right) {
    auto mask = torch::zeros({kHeight, kWidth});
    mask.slice(0, top, bottom).slice(1, left, right).fill_(1.0);
    return mask;
  }

  std::shared_ptr<MaskedRegions> scene(std::vector<Tensor> masks) {
    auto regions = std::make_shared<MaskedRegions>();
    for (auto& mask : masks) regions->regions.push_back({{std::move(mask)}, draw({2, 3, kText})});
    regions->latent_height = kHeight;
    regions->latent_width = kWidth;
    return regions;
  }

  Tensor masked(std::shared_ptr<MaskedRegions> regions) {
    MaskedAttention processor(std::move(regions));
    return processor.process(*cross_, hidden_, context_);
  }
  /// The output with the text of one region everywhere.
  Tensor whole(const MaskedRegions& regions, std::size_t i) {
    return cross_->forward(hidden_, regions.regions[i].context);
  }
  Tensor plain() { return cross_->forward(hidden_, context_); }

  static Tensor flat(const Tensor& mask) { return mask.flatten().view({1, -1, 1}); }

  torch::NoGradGuard no_grad_;
  at::Generator generator_ = seeded_generator(5);
  nn::Attention cross_{nn::AttentionSize{kWide, 2, 4, kText}};
  nn::Attention self_{nn::AttentionSize{kWide, 2, 4, std::nullopt}};
  Tensor hidden_ = draw({2, kHeight* kWidth, kWide});
  Tensor context_ = draw({2, 3, kText});
};

TEST_F(Masked, BoxesAreWhatTheRegionalProcessorMakesOfThem) {
  const auto regions = scene({box(0, 0, 4, 3), box(1, 2, 4, 6)});
  std::vector<RegionContext> boxes;
  boxes.push_back({Box{0, 0, 1, 0.5}, 1.0, regions->regions[0].context});
  boxes.push_back({Box{0.25, 2.0 / 6, 1, 1}, 1.0, regions->regions[1].context});
  RegionalAttention paper(boxes, kHeight, kWidth);
  EXPECT_LT(difference(masked(regions), paper.process(*cross_, hidden_, context_)), 1e-5);
}

TEST_F(Masked, BoxesOffTheGridHaveThePapersPositionsInEveryLayer) {
  const auto given = scene_with_regions(R"([{"prompt":"a","box":[0.05,0.02,0.9,0.45]},
      {"prompt":"b","box":[0.3,0.37,1,0.98],"weight":0.7}])");
  auto regions = std::make_shared<MaskedRegions>();
  std::vector<RegionContext> boxes;
  const auto shapes = region_shapes(given, {32, 64});
  for (std::size_t i = 0; i < shapes.size(); ++i) {
    const auto& region = given.regions[i];
    regions->regions.push_back({shapes[i], draw({2, 3, kText}), region.weight});
    boxes.push_back({region.box, region.weight, regions->regions[i].context});
  }
  regions->latent_height = 16;
  regions->latent_width = 32;
  for (const std::int64_t scale : {1, 2, 4, 8}) {
    hidden_ = draw({2, (16 / scale) * (32 / scale), kWide});
    RegionalAttention paper(boxes, 16, 32);
    EXPECT_LT(difference(masked(regions), paper.process(*cross_, hidden_, context_)), 1e-5)
        << scale;
  }
}

TEST_F(Masked, GreyMixesAndTheRestStaysTheContext) {
  const auto mask = torch::rand({kHeight, kWidth}, generator_);
  const auto regions = scene({mask});
  const auto expected = flat(mask) * whole(*regions, 0) + (1.0 - flat(mask)) * plain();
  EXPECT_LT(difference(masked(regions), expected), 1e-5);
}

TEST_F(Masked, TheFirstRegionInFrontTakesItsShareAndLeavesTheRest) {
  const auto regions = scene({0.75 * box(0, 0, 4, 4), box(0, 2, 4, 6)});
  regions->overlap = Overlap::kFront;
  const auto first = flat(regions->regions[0].shape.mask);
  const auto second = flat(regions->regions[1].shape.mask) * (1.0 - first);
  const auto expected =
      first * whole(*regions, 0) + second * whole(*regions, 1) + (1.0 - first - second) * plain();
  EXPECT_LT(difference(masked(regions), expected), 1e-5);
}

TEST_F(Masked, WeightBaseRatioAndTimeLeaveTheContext) {
  const auto regions = scene({torch::ones({kHeight, kWidth})});
  regions->regions[0].weight = 0.5;
  regions->base_ratio = 0.2;
  const auto expected = 0.4 * whole(*regions, 0) + 0.6 * plain();
  EXPECT_LT(difference(masked(regions), expected), 1e-5);
  regions->regions[0].end = 0.5;
  regions->progress = 0.5;
  EXPECT_LT(difference(masked(regions), plain()), 1e-6);
  regions->progress = 0.4;
  EXPECT_LT(difference(masked(regions), expected), 1e-5);
}

TEST_F(Masked, AnyNumberOfRegionsOfAnySizeAndTextIsTheirWeightedSum) {
  auto masks = std::vector<Tensor>{box(0, 0, 4, 1), box(1, 1, 2, 6), box(2, 2, 4, 4)};
  for (int i = 0; i < 5; ++i) {
    const auto mask = torch::rand({kHeight, kWidth}, generator_);
    masks.push_back(mask.masked_fill(mask < 0.5, 0.0));
  }
  masks.push_back(torch::zeros({kHeight, kWidth}));
  const auto regions = scene(masks);
  for (const std::size_t i : {1, 4}) regions->regions[i].context = draw({2, 7, kText});
  for (const auto overlap : {Overlap::kMean, Overlap::kFront}) {
    regions->overlap = overlap;
    auto total = torch::zeros({kHeight, kWidth});
    for (const auto& mask : masks) total += mask;
    auto left = torch::ones({kHeight, kWidth}), free = left;
    auto expected = torch::zeros_like(hidden_);
    for (std::size_t i = 0; i < masks.size(); ++i) {
      const bool is_mean = overlap == Overlap::kMean;
      const auto weight = is_mean ? masks[i] / total.clamp_min(1.0) : masks[i] * free;
      free = free - weight;
      left = left - weight;
      expected += flat(weight) * whole(*regions, i);
    }
    EXPECT_LT(difference(masked(regions), expected + flat(left) * plain()), 1e-5);
  }
}

TEST_F(Masked, WhereRegionsCoverEverythingTheContextIsNotRead) {
  const auto regions = scene({box(0, 0, 4, 2), box(0, 2, 4, 6)});
  const auto before = masked(regions);
  context_ = torch::full_like(context_, std::numeric_limits<float>::quiet_NaN());
  EXPECT_TRUE(torch::equal(masked(regions), before));
}

TEST_F(Masked, WordsThatOneRegionHidesAreSeenByTheOthers) {
  const auto regions = scene({box(0, 0, 4, 3), box(0, 3, 4, 6)});
  regions->regions[1].hidden = {0, 2};
  const auto& text = regions->regions[1].context;  // of the prompt's half one word is left
  const auto value = cross_->key_value(text.slice(0, 1).slice(1, 1, 2)).value;
  const auto alone = cross_->output(value.expand({1, 2, kHeight * kWidth, 4}));
  const auto painted = masked(regions).unflatten(1, {kHeight, kWidth});
  const auto as_map = [](const Tensor& x) { return x.unflatten(1, {kHeight, kWidth}); };
  EXPECT_LT(difference(painted.slice(2, 0, 3), as_map(whole(*regions, 0)).slice(2, 0, 3)), 1e-5);
  EXPECT_LT(difference(painted.slice(0, 1).slice(2, 3, 6), as_map(alone).slice(2, 3, 6)), 1e-5);
  const auto without = as_map(whole(*regions, 1)).slice(0, 0, 1);
  EXPECT_LT(difference(painted.slice(0, 0, 1).slice(2, 3, 6), without.slice(2, 3, 6)), 1e-5);
}

TEST_F(Masked, RegionsThatComeAndGoAreThoseOfTheirTime) {
  const auto regions = scene({box(0, 0, 4, 3), box(0, 2, 4, 6)});
  regions->regions[0].end = 0.5;
  regions->regions[1].start = 0.25;
  MaskedAttention kept(regions);
  for (const double progress : {0.0, 0.3, 0.6, 0.3}) {
    regions->progress = progress;
    EXPECT_TRUE(torch::equal(kept.process(*cross_, hidden_, context_), masked(regions)));
  }
}

TEST_F(Masked, AHalfWithoutGuidanceIsTheOneWithThePrompt) {
  const auto regions = scene({box(0, 0, 4, 3)});
  MaskedAttention processor(regions);
  const auto half = processor.process(*cross_, hidden_.slice(0, 1), context_.slice(0, 1));
  const auto both = processor.process(*cross_, hidden_, context_);
  EXPECT_LT(difference(half, both.slice(0, 1)), 1e-6);
}

TEST_F(Masked, IsolatedRegionsDoNotFeelEachOther) {
  const auto regions = scene({box(0, 0, 4, 2), box(0, 4, 4, 6)});
  regions->isolate = true;
  const auto run = [&](const Tensor& hidden) {
    RegionalSelfAttention processor(regions);
    return processor.process(*self_, hidden, {}).unflatten(1, {kHeight, kWidth});
  };
  auto other = hidden_.clone();
  other.unflatten(1, {kHeight, kWidth}).slice(2, 4, 6).add_(1.0);  // the second region changes
  const auto before = run(hidden_), after = run(other);
  EXPECT_TRUE(torch::equal(before.slice(2, 0, 2), after.slice(2, 0, 2)));
  EXPECT_GT(difference(before.slice(2, 2, 4), after.slice(2, 2, 4)), 1e-3);  // of none: sees all
}

TEST_F(Masked, ARegionWhoseTimeIsOverIsolatesNobody) {
  const auto regions = scene({box(0, 0, 4, 2), box(0, 4, 4, 6)});
  regions->isolate = true;
  RegionalSelfAttention processor(regions);
  const auto both = processor.process(*self_, hidden_, {});
  for (auto& region : regions->regions) region.end = 0.5;
  regions->progress = 0.75;
  EXPECT_LT(difference(processor.process(*self_, hidden_, {}), self_->forward(hidden_)), 1e-6);
  regions->progress = 0.25;
  EXPECT_TRUE(torch::equal(processor.process(*self_, hidden_, {}), both));
}

TEST_F(Masked, WhatABoxCoversInPartIsNotItsOwnInIsolation) {
  const auto regions = scene({Tensor(), box(0, 4, 4, 6)});
  regions->regions[0].shape.box = Box{.right = 2.7 / kWidth};  // most of the third column
  regions->isolate = true;
  const auto run = [&](const Tensor& hidden) {
    RegionalSelfAttention processor(regions);
    return processor.process(*self_, hidden, {}).unflatten(1, {kHeight, kWidth});
  };
  auto other = hidden_.clone();
  other.unflatten(1, {kHeight, kWidth}).slice(2, 4, 6).add_(1.0);
  const auto before = run(hidden_), after = run(other);
  EXPECT_TRUE(torch::equal(before.slice(2, 0, 2), after.slice(2, 0, 2)));
  EXPECT_GT(difference(before.slice(2, 2, 3), after.slice(2, 2, 3)), 1e-3);
}

TEST_F(Masked, WithoutRegionsIsolationIsPlainSelfAttention) {
  const auto regions = scene({0.25 * box(0, 0, 4, 3)});  // owns nothing
  regions->isolate = true;
  RegionalSelfAttention processor(regions);
  EXPECT_LT(difference(processor.process(*self_, hidden_, {}), self_->forward(hidden_)), 1e-6);
}

TEST(RegionMasks, PolygonsBoxesAndBackgroundCoverTheCanvas) {
  const auto scene = scene_with_regions(R"([{"prompt":"a","polygon":[[0,0],[0,32],[32,0]]},
      {"prompt":"b","box":[0,32,32,64]},{"prompt":"c","background":true}])");
  EXPECT_FALSE(scene.is_plain());
  const auto masks = region_masks(scene, {32, 64});
  EXPECT_NEAR(masks[0].sum().item<double>(), 32 * 32 / 2.0, 6.0);  // half of a step on each line
  EXPECT_EQ(masks[0][2][2].item<float>(), 1.0F);
  EXPECT_EQ(masks[0][30][30].item<float>(), 0.0F);
  EXPECT_NEAR((masks[0] + masks[1] + masks[2]).sub(1.0).abs().max().item<double>(), 0.0, 1e-6);
}

TEST(RegionShapes, ABackgroundHasWhatTheOthersLeaveInEveryLayer) {
  const auto scene = scene_with_regions(R"([{"prompt":"a","box":[0.1,0.1,0.9,0.45]},
      {"prompt":"b","polygon":[[0,40],[0,64],[32,64]]},{"prompt":"c","background":true}])");
  const auto shapes = region_shapes(scene, {32, 64});
  for (const std::int64_t scale : {1, 2, 4, 8, 16}) {
    auto sum = torch::zeros({32 / scale, 64 / scale});
    for (const auto& shape : shapes) sum += shape_on_features(shape, 32 / scale, 64 / scale);
    EXPECT_LT(difference(sum, torch::ones_like(sum)), 1e-6) << scale;
  }
}

TEST(RegionShapes, ABoxWithATimeIsABoxAndOneWithASoftEdgeIsNone) {
  const auto scene = scene_with_regions(R"([{"prompt":"a","box":[0.1,0.1,0.9,0.45],"end":0.4},
      {"prompt":"b","box":[0.1,0.5,0.9,0.9],"feather":4}])");
  const auto shapes = region_shapes(scene, {32, 64});
  EXPECT_TRUE(shapes[0].box.has_value());
  EXPECT_FALSE(shapes[1].box.has_value());  // its edge is soft
}

TEST(RegionMasks, PicturesAreResizedByAreaAndFeatheredEdgesFallSlowly) {
  const TempDir folder;
  auto pixels = torch::zeros({16, 32, 1}, torch::kUInt8);
  pixels.slice(1, 0, 16).fill_(255);
  io::write_png(folder / "mask.png", pixels);
  const auto text =
      fmt::format(R"([{{"prompt":"a","mask":"{}","feather":8}}])", (folder / "mask.png").string());
  const auto mask = region_masks(scene_with_regions(text), {32, 64})[0];
  EXPECT_NEAR(mask[10][4].item<double>(), 1.0, 1e-6);
  EXPECT_NEAR(mask[10][31].item<double>(), 0.5, 0.1);
  EXPECT_NEAR(mask[10][60].item<double>(), 0.0, 1e-6);
  EXPECT_NEAR(mask_on_features(mask, 4, 8).mean().item<double>(), mask.mean().item<double>(), 1e-5);
}

TEST(RegionMasks, ThinPartsWeighTheirArea) {
  auto mask = torch::zeros({32, 64});
  mask.slice(1, 3, 4).fill_(1.0);
  EXPECT_NEAR(mask_on_features(mask, 4, 8)[0][0].item<double>(), 1.0 / 8, 1e-6);
}

TEST(Scenes, WithMoreThanBoxesComeBackAsTheyWere) {
  const auto scene =
      scene_with_regions(R"([{"prompt":"a","polygon":[[0,0],[0,32],[32,0]],"name":"n",
      "feather":4,"end":0.5},{"prompt":"b","background":true,"weight":0.5}])");
  const auto json = scene_to_json(scene);
  EXPECT_EQ(scene_to_json(scene_from_json(json, "again", {32, 64})), json);
  EXPECT_EQ(json.at("regions")[0].at("end"), 0.5);
}

TEST(Scenes, RootPromptsStandBeforeAllOthers) {
  auto scene =
      scene_with_regions(R"([{"prompt":"a cat","box":[0,0,32,32],"negative_prompt":"dog"}])");
  scene.root_prompt = "oil painting";
  scene.root_negative_prompt = "blurry";
  const auto rooted = with_root_prompts(scene);
  EXPECT_EQ(rooted.prompt, "oil painting, sea");
  EXPECT_EQ(rooted.negative_prompt, "blurry");
  EXPECT_EQ(rooted.regions[0].prompt, "oil painting, a cat");
  EXPECT_EQ(rooted.regions[0].negative_prompt, "blurry, dog");
}

TEST(RegionMasks, OnALargerCanvasSoftEdgesAreAsWideAsTheyLook) {
  const auto scene = scene_with_regions(R"([{"prompt":"a cat","box":[0,0,32,32],"feather":8}])");
  const auto small = region_masks(scene, {32, 64});
  const auto large = region_masks(on_larger_canvas(scene, 2.0), {64, 128});
  const auto shrunk = torch::avg_pool2d(large[0].view({1, 1, 64, 128}), 2).view({32, 64});
  EXPECT_LT(difference(shrunk, small[0]), 0.05);
  const auto as_it_was = region_masks(scene, {64, 128});
  EXPECT_GT(
      difference(torch::avg_pool2d(as_it_was[0].view({1, 1, 64, 128}), 2).view({32, 64}), small[0]),
      0.1);
}

TEST(Scenes, RefuseWhatIsNoPlace) {
  for (const char* wrong :
       {R"([{"prompt":"a","box":[0,0,32,32],"background":true}])",
        R"([{"prompt":"a","polygon":[[0,0],[1,1]]}])",
        R"([{"prompt":"a","polygon":[[0,0],[1,1],[2]]}])",
        R"([{"prompt":"a","polygon":[[0,0],[0,99],[32,0]]}])", R"([{"prompt":"a"}])",
        R"([{"prompt":"a","box":[0,0,32,32],"feather":-1}])",
        R"([{"prompt":"a","box":[0,0,32,32],"start":0.5,"end":0.5}])"}) {
    EXPECT_THROW(scene_with_regions(wrong), Error) << wrong;
  }
  const auto scene = scene_with_regions(R"([{"prompt":"a","mask":"/nowhere/mask.png"}])");
  EXPECT_THAT(test::message_of(ErrorKind::kIo,
                               [&] {
                                 region_masks(scene, {32, 64});
                               }),
              testing::AllOf(testing::HasSubstr("/nowhere/mask.png of region 1 \"a\""),
                             testing::HasSubstr("that file's folder"),
                             testing::HasSubstr(std::filesystem::current_path().string())));
}

}  // namespace
}  // namespace mos::region
