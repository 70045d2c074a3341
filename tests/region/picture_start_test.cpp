#include "mos/region/picture_start.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "mos/base/random.h"
#include "mos/io/image.h"
#include "mos/region/fast.h"
#include "mos/region/region_mask.h"
#include "mos/region/sample.h"
#include "mos/region/scene_text.h"
#include "mos/region/start_size.h"
#include "tests/support/errors.h"
#include "tests/support/temp_dir.h"
#include "tests/support/tiny_model.h"

namespace mos::region {
namespace {

using test::message_of_any;
using testing::HasSubstr;
using torch::Tensor;

class PictureStarts : public testing::Test {
 protected:
  PictureStarts() {
    auto generator = seeded_generator(2);
    pixels_ = randint(0, 256, {16, 24, 3}, generator).to(torch::kUInt8);
    io::write_png(init_, pixels_);
    auto mask = torch::zeros({16, 24, 1}, torch::kUInt8);
    mask.slice(1, 16).fill_(255);
    io::write_png(mask_, mask);
    options_.steps = 3;
    options_.height = 16;
    options_.width = 24;
    options_.pictures.init = init_;
    scene_.prompt = "a cat";
  }

  Tensor paint() {
    PaintInputs inputs;
    inputs.start = load_start(options_.pictures, scene_, {options_.height, options_.width});
    return sample_pictures(model_, tokens_, scene_, options_, inputs)[0];
  }

  TempDir folder_;
  std::string init_ = (folder_ / "init.png").string(), mask_ = (folder_ / "mask.png").string();
  Tensor pixels_;
  diffusion::Model model_ = tiny::model();
  concepts::ConceptTokens tokens_{model_.unet->cross_attention_count()};
  Scene scene_;
  SampleOptions options_;
};

TEST_F(PictureStarts, WhatTheMaskLeavesOutIsThePictureToTheBit) {
  options_.pictures.mask = mask_;
  const auto painted = paint();
  EXPECT_TRUE(torch::equal(painted.slice(1, 0, 16), pixels_.slice(1, 0, 16)));
  EXPECT_FALSE(torch::equal(painted.slice(1, 16), pixels_.slice(1, 16)));
}

TEST_F(PictureStarts, ARegionIsPaintedAgainAndTheRestStays) {
  scene_.regions.push_back({"a cat", "", Box{0, 0, 1, 0.5}});
  scene_.regions.push_back({"a cat", "", Box{0, 0.5, 1, 1}});
  scene_.regions.back().name = "right";
  options_.pictures.redo_region = "right";
  options_.seed = 5;
  const auto painted = paint();
  EXPECT_TRUE(torch::equal(painted.slice(1, 0, 12), pixels_.slice(1, 0, 12)));
  EXPECT_FALSE(torch::equal(painted.slice(1, 12), pixels_.slice(1, 12)));
  options_.pictures.redo_region = "1";
  EXPECT_TRUE(torch::equal(paint().slice(1, 12), pixels_.slice(1, 12)));
  EXPECT_THAT(message_of_any([&] { find_region(scene_, "left"); }), HasSubstr("1, right"));
}

TEST_F(PictureStarts, TheEdgeOfARegionIsSoftenedInsideOfIt) {
  scene_.regions.push_back({"a cat", "", Box{0, 0.5, 1, 1}});
  options_.pictures.redo_region = "1";
  options_.pictures.mask_feather = 4;
  const auto mask = load_start(options_.pictures, scene_, {16, 24}).mask;
  EXPECT_EQ(mask.slice(1, 0, 12).max().item<double>(), 0.0);
  EXPECT_NEAR(mask.slice(1, 16).min().item<double>(), 1.0, 1e-6);
  // Two means of five pixels across an edge at 12, twice as steep and half as far.
  const auto expected = torch::tensor({0.2, 0.52, 0.76, 0.92}).expand({16, 4});
  EXPECT_LT((mask.slice(1, 12, 16) - expected).abs().max().item<double>(), 1e-5);
  EXPECT_TRUE(torch::equal(paint().slice(1, 0, 12), pixels_.slice(1, 0, 12)));
}

TEST_F(PictureStarts, AGreyMaskThatIsFlatIsNotChangedByAFeather) {
  const auto grey = torch::full({16, 24}, 0.4);
  EXPECT_LT((feathered_inside(grey, 6.0) - grey).abs().max().item<double>(), 1e-6);
}

TEST_F(PictureStarts, GrowingKeepsThePictureInTheMiddle) {
  options_.pictures.grow = {4, 2, 4, 0};
  options_.height = 18;
  options_.width = 32;
  const auto canvas = canvas_of_start(options_.pictures).value();
  EXPECT_EQ(canvas.height, 18);
  EXPECT_EQ(canvas.width, 32);
  const auto painted = paint();
  EXPECT_TRUE(torch::equal(painted.slice(0, 2).slice(1, 4, 28), pixels_));
}

TEST_F(PictureStarts, StrengthDecidesHowMuchOfItIsLeft) {
  const auto change = [&](double strength) {
    options_.steps = 10;
    options_.pictures.strength = strength;
    const auto start = load_start(options_.pictures, scene_, {16, 24});
    const auto latents = start_of(model_, start, options_.pictures).latents;
    PaintInputs inputs;
    inputs.start = start;
    return (sample_latents(model_, tokens_, scene_, options_, inputs) - latents)
        .square()
        .mean()
        .item<double>();
  };
  EXPECT_LT(change(0.1), change(1.0));
}

TEST_F(PictureStarts, ASecondPassIsLargerAndKeepsTheRegions) {
  options_.pictures = {};
  options_.pictures.hires = 1.5;
  scene_.regions.push_back({"a cat", "", Box{0, 0, 1, 0.5}});
  for (const char* way : {"latent", "lanczos"}) {
    options_.pictures.hires_upscale = way;
    const auto painted = sample_pictures(model_, tokens_, scene_, options_);
    EXPECT_EQ(painted.sizes(), (std::vector<std::int64_t>{1, 24, 36, 3})) << way;
  }
}

TEST_F(PictureStarts, TilesPaintTheSameSizeOfPicture) {
  options_.pictures = {};
  options_.pictures.vae_tile = 32;
  options_.width = 40;
  const auto tiled = sample_pictures(model_, tokens_, scene_, options_);
  EXPECT_EQ(tiled.sizes(), (std::vector<std::int64_t>{1, 16, 40, 3}));
}

TEST_F(PictureStarts, ShapesAndIsolationPaintAPicture) {
  Region triangle{"a cat", "", {}};
  triangle.polygon = {{0, 0}, {0, 1}, {1, 0}};
  Region rest{"a", "", {}};
  rest.background = true;
  scene_.regions = {triangle, rest};
  scene_.isolate = true;
  options_.pictures = {};
  const auto painted = sample_pictures(model_, tokens_, scene_, options_);
  scene_.isolate = false;
  EXPECT_FALSE(torch::equal(sample_pictures(model_, tokens_, scene_, options_), painted));
}

/// ᾱ of the tiny model's noise schedule in float64, from its definition.
std::vector<double> alphas() {
  std::vector<double> products;
  const double first = std::sqrt(0.00085), last = std::sqrt(0.012);
  double product = 1.0;
  for (int t = 0; t < 1000; ++t) {
    const double root = first + (last - first) * t / 999.0;
    product *= 1.0 - root * root;
    products.push_back(product);
  }
  return products;
}

TEST_F(PictureStarts, AnInpaintingNetworkReadsMaskAndMaskedPictureBesideTheSample) {
  const torch::NoGradGuard no_grad;
  auto model = tiny::inpainting_model();
  options_.steps = 1;
  options_.scheduler = "ddim";
  options_.guidance_scale = 1.0;
  options_.pictures.mask = mask_;
  options_.pictures.strength = 1.0;
  PaintInputs inputs;
  inputs.start = load_start(options_.pictures, scene_, {16, 24});
  const auto painted = sample_latents(model, tokens_, scene_, options_, inputs);

  // The same by hand: diffusers' inputs of such a network, and one step of DDIM from t = 1 to 0.
  const auto picture = pixels_.permute({2, 0, 1}).unsqueeze(0).to(torch::kFloat32) / 127.5 - 1.0;
  const auto encode = [&](const Tensor& shown) {
    return model.vae->encode(shown).mean * model.vae->config().scaling_factor;
  };
  auto masked = picture.clone();
  masked.slice(3, 16).zero_();
  auto mask = torch::zeros({1, 1, 8, 12});
  mask.slice(3, 8).fill_(1.0);
  auto generators = diffusion::picture_generators(options_.seed, 1);
  const auto noise = diffusion::initial_noise(generators, {4, 8, 12});
  const auto text = encode_scene(model, tokens_, scene_, options_).cond;
  const auto epsilon = model.unet->forward(torch::cat({noise, mask, encode(masked)}, 1),
                                           torch::ones({1}), text, nn::UNetResiduals{});
  const auto a = alphas();
  const auto seen = (noise - std::sqrt(1.0 - a[1]) * epsilon) / std::sqrt(a[1]);
  const auto moved = std::sqrt(a[0]) * seen + std::sqrt(1.0 - a[0]) * epsilon;
  const auto expected = mask * moved + (1.0 - mask) * encode(picture);
  EXPECT_LT((painted - expected).abs().max().item<double>(), 1e-4);  // float32
}

TEST_F(PictureStarts, AnInpaintingNetworkPaintsWithoutAPicture) {
  auto model = tiny::inpainting_model();
  options_.pictures = {};
  const auto latents = sample_latents(model, tokens_, scene_, options_);
  EXPECT_EQ(latents.sizes(), (std::vector<std::int64_t>{1, 4, 8, 12}));
  EXPECT_TRUE(torch::isfinite(latents).all().item<bool>());
}

TEST_F(PictureStarts, OptionsThatDoNotGoTogetherAreNamed) {
  const auto message = [](PictureOptions options) {
    return message_of_any([&] { check_options({.pictures = options}); });
  };
  EXPECT_THAT(message({.mask = "m.png"}), HasSubstr("--init"));
  EXPECT_THAT(message({.redo_region = "1"}), HasSubstr("--from"));
  EXPECT_THAT(message({.grow = {1, 0, 0, 0}}), HasSubstr("--init"));
  EXPECT_THAT(message({.init = "i", .mask = "m", .grow = {1, 0, 0, 0}}), HasSubstr("give one"));
  EXPECT_THAT(message({.init = "i", .grow = {1, 0}}), HasSubstr("four numbers"));
  EXPECT_THAT(message({.init = "i", .mask = "m", .hires = 2.0}),
              testing::AllOf(HasSubstr("--hires"), HasSubstr("with --mask, which paints a part")));
  EXPECT_THAT(message({.init = "i", .strength = 0.0}), HasSubstr("strength"));
  EXPECT_THAT(message({.mask_feather = 3}), HasSubstr("there is none"));
  EXPECT_THAT(message({.strength = 0.5}), HasSubstr("--init"));
  EXPECT_THAT(message({.init = "i", .strength = 0.5, .grow = {1, 0, 0, 0}}), HasSubstr("noise"));
  EXPECT_THAT(message({.hires_strength = 0.5}), HasSubstr("--hires"));
  EXPECT_THAT(message({.hires_upscale = "lanczos"}), HasSubstr("--hires"));
  EXPECT_THAT(message({.hires = 99}), HasSubstr("hires"));
  EXPECT_THAT(message({.hires_upscale = "bicubic"}), HasSubstr("lanczos"));
}

TEST_F(PictureStarts, PicturesOfAnotherAspectAndEmptyMasksAreNamed) {
  EXPECT_THAT(message_of_any([&] {
                load_start(options_.pictures, scene_, {16, 16});
              }),
              HasSubstr("another aspect"));
  io::write_png(mask_, torch::zeros({16, 24, 1}, torch::kUInt8));
  options_.pictures.mask = mask_;
  EXPECT_THAT(message_of_any([&] {
                load_start(options_.pictures, scene_, {16, 24});
              }),
              HasSubstr("black everywhere, so that it covers nothing: make white"));
}

TEST_F(PictureStarts, AMaskDrawnInBlackOnNothingIsWhereItIsOpaque) {
  auto drawn = torch::zeros({16, 24, 4}, torch::kUInt8);
  drawn.slice(1, 16).select(2, 3).fill_(255);
  io::write_png(mask_, drawn);
  const auto mask = read_mask(mask_, {16, 24}, "the mask");
  EXPECT_EQ(mask.slice(1, 0, 16).max().item<double>(), 0.0);
  EXPECT_EQ(mask.slice(1, 16).min().item<double>(), 1.0);
  io::write_png(
      mask_,
      torch::full({16, 24, 4}, 255, torch::kUInt8).mul(torch::tensor({0, 0, 0, 1}, torch::kUInt8)));
  EXPECT_THAT(message_of_any([&] { read_mask(mask_, {16, 24}, "the mask"); }), HasSubstr("black"));
}

TEST_F(PictureStarts, ASizeThatTheModelHasNotComesWithOneThatItHas) {
  const auto refusal = [&](Canvas canvas) {
    return message_of_any([&] { check_canvas_of_start(options_.pictures, canvas, 8); });
  };
  options_.pictures.init = "wide.png";
  EXPECT_EQ(refusal({100, 300}),
            "the picture wide.png is 300 x 100 pixels (width x height), and this model needs "
            "multiples of 8: paint with --width 288 --height 96");
  EXPECT_THAT(refusal({13, 20}), HasSubstr("crop it to 16 x 8"));
  options_.pictures.grow = {0, 0, 10, 0};
  EXPECT_EQ(refusal({64, 74}),
            "the picture wide.png grows to 74 x 64 pixels (width x height), and this model needs "
            "multiples of 8: grow it with --grow 0,0,16,0");
  EXPECT_NO_THROW(check_canvas_of_start(options_.pictures, {64, 72}, 8));
  const auto stretched = [&](Canvas grown) {
    return message_of_any([&] { check_grown_canvas(options_.pictures, grown, {64, 128}, 8); });
  };
  EXPECT_THAT(stretched({64, 72}), HasSubstr("leave out its height and width, or ask for 72 x 64"));
  EXPECT_THAT(stretched({64, 74}),
              HasSubstr("leave out its height and width, and grow it with --grow 0,0,16,0"));
}

TEST_F(PictureStarts, ASecondPassWithoutAStepIsRefusedBeforeTheFirst) {
  options_.pictures = {.hires = 2.0};
  options_.steps = 2;
  EXPECT_THAT(message_of_any([&] { sample_latents(model_, tokens_, scene_, options_); }),
              HasSubstr("is 0.45, and that is none of 2 steps: paint with 3 steps or more"));
}

TEST(Fast, KindsSetWhatTheirNetworksWant) {
  SampleOptions options;
  use_fast_kind(find_fast_kind("auto", {"a/Hyper-SD15-8steps.safetensors"}), options);
  EXPECT_EQ(options.scheduler, "ddim");
  EXPECT_EQ(options.sampler.spacing, "trailing");
  EXPECT_EQ(options.guidance_scale, 1.0);
  EXPECT_EQ(options.steps, 8);
  const auto kind = [](const char* name, const char* file) { return find_fast_kind(name, {file}); };
  EXPECT_EQ(kind("auto", "Hyper-SD15-2steps-lora.safetensors").steps, 2);
  EXPECT_EQ(kind("lightning", "x/sdxl_lightning_8step_lora.safetensors").steps, 8);
  EXPECT_EQ(kind("lcm", "Hyper-SD15-2steps-lora.safetensors").steps, 4);  // of another kind
  EXPECT_STREQ(kind("hyper", "Hyper-SD15-1step-lora.safetensors").scheduler, "tcd");
  options.guidance_scale = 6.0;
  use_fast_kind(kind("auto", "Hyper-SD15-8steps-CFG-lora.safetensors"), options);
  EXPECT_EQ(options.guidance_scale, 6.0);
  EXPECT_THAT(message_of_any([] { find_fast_kind("auto", {"cat.safetensors"}); }),
              HasSubstr("--fast lcm"));
  EXPECT_THAT(message_of_any([] { find_fast_kind("lcn", {}); }), HasSubstr("lcm"));
  EXPECT_THAT(
      message_of_any([] { check_fast_scheduler(find_fast_kind("lcm", {}), "dpm++2m_sde"); }),
      HasSubstr("adds noise"));
  EXPECT_NO_THROW(check_fast_scheduler(find_fast_kind("lcm", {}), "euler"));
}

TEST(SamplerOptions, ImpossibleOnesAreNamed) {
  const auto message = [](SamplerOptions options) {
    return message_of_any([&] { check_options({.sampler = options}); });
  };
  EXPECT_THAT(message({.spacing = "even"}), HasSubstr("trailing"));
  EXPECT_THAT(message({.guidance_rescale = 1.5}), HasSubstr("0 to 1"));
  EXPECT_THAT(message({.guidance_start = 1.0, .guidance_end = 2.0}), HasSubstr("larger"));
  EXPECT_THAT(message({.clip_skip = 0}), HasSubstr("clip_skip"));
  EXPECT_THAT(message({.noise = "gpu"}), HasSubstr("a1111"));
}

TEST(SceneText, ChoicesAndFilesAreSettledInEveryPrompt) {
  auto json = parse_json(R"({"prompt": "sea <lora:x:0.5>", "regions":
      [{"prompt": "a {red|blue} cat <lora:y>", "box": [0, 0, 1, 1]}]})",
                         "scene");
  const auto tags = take_lora_tags(json);
  ASSERT_EQ(tags.size(), 2U);
  const auto scene = scene_from_json(json, "scene", {16, 24});
  EXPECT_EQ(scene.prompt, "sea");
  EXPECT_TRUE(has_choices(scene));
  EXPECT_FALSE(has_choices(choose_texts(scene, 3)));
  auto twice =
      parse_json(R"({"prompt": "<lora:x:0.5>", "negative_prompt": "<lora:x:1>"})", "scene");
  EXPECT_THAT(message_of_any([&] { take_lora_tags(twice); }), HasSubstr("one scale"));
}

}  // namespace
}  // namespace mos::region
