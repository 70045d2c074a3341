#include <gmock/gmock.h>

#include <string>

#include "mos/base/error.h"
#include "mos/nn/clip.h"
#include "mos/nn/compute.h"
#include "mos/nn/controlnet.h"
#include "mos/nn/limits.h"
#include "mos/nn/t2i_adapter.h"
#include "mos/nn/unet_config.h"
#include "mos/nn/vae.h"
#include "tests/base/places.h"

// What configurations and names of precisions become, and how those are refused that we do not
// build.

namespace mos::nn {
namespace {

using mos::test::error_of;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

Json unet_json() {
  return {{"block_out_channels", {32, 64}},
          {"down_block_types", {"CrossAttnDownBlock2D", "DownBlock2D"}},
          {"up_block_types", {"UpBlock2D", "CrossAttnUpBlock2D"}},
          {"attention_head_dim", 8},
          {"norm_num_groups", 8}};
}

std::string unet_refusal(const std::string& key, const Json& value) {
  auto config = unet_json();
  config[key] = value;
  return error_of(ErrorKind::kFormat, [&] { UNetConfig::from_json(config); });
}

TEST(UNetConfigs, WhatAConfigLeavesOutIsWhatDiffusersHasThere) {
  const auto config = UNetConfig::from_json(unet_json());
  EXPECT_EQ(config.cross_attention_dim, 1280);
  EXPECT_THAT(config.layers_per_block, ElementsAre(2, 2));
  EXPECT_THAT(config.transformer_depth, ElementsAre(1, 1));
  EXPECT_TRUE(config.flip_sin_to_cos);
  EXPECT_FALSE(config.use_linear_projection);
  EXPECT_THAT(config.down_has_attention, ElementsAre(true, false));
  EXPECT_THAT(config.up_has_attention, ElementsAre(false, true));
}

TEST(UNetConfigs, TheNumberOfHeadsHasTwoNamesOfWhichTheNewerCounts) {
  auto config = unet_json();
  EXPECT_THAT(UNetConfig::from_json(config).heads, ElementsAre(8, 8));
  config["num_attention_heads"] = nullptr;  // as diffusers writes it
  EXPECT_THAT(UNetConfig::from_json(config).heads, ElementsAre(8, 8));
  config["num_attention_heads"] = {4, 16};
  EXPECT_THAT(UNetConfig::from_json(config).heads, ElementsAre(4, 16));
}

TEST(UNetConfigs, SwitchesThatChangeTheNetworkAreRefusedByName) {
  EXPECT_THAT(unet_refusal("class_embed_type", "timestep"),
              AllOf(HasSubstr("class_embed_type"), HasSubstr("timestep")));
  EXPECT_THAT(unet_refusal("addition_embed_type", "text_time"), HasSubstr("addition_embed_type"));
  EXPECT_THAT(unet_refusal("act_fn", "gelu"), HasSubstr("silu"));
  EXPECT_THAT(unet_refusal("up_block_types", {"UpBlock2D", "SkipUpBlock2D"}),
              HasSubstr("SkipUpBlock2D"));
  EXPECT_EQ(unet_refusal("class_embed_type", nullptr), "");
}

TEST(UNetConfigs, SizesThatCannotBeAreRefusedBeforeAnythingIsBuilt) {
  EXPECT_THAT(unet_refusal("block_out_channels", {32, 63}), HasSubstr("63"));
  EXPECT_THAT(unet_refusal("attention_head_dim", 7), HasSubstr("7 attention heads"));
  EXPECT_THAT(unet_refusal("attention_head_dim", 0), HasSubstr("0 attention heads"));
  EXPECT_THAT(unet_refusal("layers_per_block", kMostLayers + 1), HasSubstr("layers_per_block"));
  EXPECT_THAT(unet_refusal("layers_per_block", {2, 2, 2}), HasSubstr("3 entries"));
  EXPECT_THAT(unet_refusal("cross_attention_dim", kLargestWidth + 1), HasSubstr("65537"));
  EXPECT_THAT(unet_refusal("block_out_channels", Json::array()), HasSubstr("0 levels"));
  EXPECT_THAT(unet_refusal("norm_eps", 0.0), HasSubstr("norm_eps"));
  auto deep = unet_json();
  deep["layers_per_block"] = kMostLayers;
  deep["transformer_layers_per_block"] = kMostLayers;
  EXPECT_THAT(error_of(ErrorKind::kFormat, [&] { UNetConfig::from_json(deep); }),
              HasSubstr("131072 transformer blocks"));
}

TEST(VaeConfigs, HalveForEachLevelButOne) {
  Json config = {{"block_out_channels", {8, 16, 16}}, {"norm_num_groups", 4}};
  EXPECT_EQ(VaeConfig::from_json(config).downscale(), 4);
  config["block_out_channels"] = {8, 15};
  EXPECT_THAT(error_of(ErrorKind::kFormat, [&] { VaeConfig::from_json(config); }), HasSubstr("15"));
}

TEST(ClipConfigs, HeadsMustDivideTheWidth) {
  const Json config = {{"hidden_size", 32}, {"num_attention_heads", 5}};
  EXPECT_THAT(error_of(ErrorKind::kFormat, [&] { ClipTextConfig::from_json(config); }),
              HasSubstr("num_attention_heads"));
  EXPECT_THAT(error_of(ErrorKind::kFormat,
                       [] {
                         ClipTextConfig::from_json({{"hidden_act", "relu"}});
                       }),
              AllOf(HasSubstr("relu"), HasSubstr("quick_gelu")));
  EXPECT_THAT(error_of(ErrorKind::kFormat,
                       [] {
                         ClipVisionConfig::from_json({{"image_size", 16}, {"patch_size", 32}});
                       }),
              HasSubstr("patch_size"));
}

TEST(AdapterConfigs, ComeBackAndAreRefusedForOtherFamilies) {
  const T2IAdapterConfig light{.kind = T2IAdapterKind::kLight, .channels = {8, 16, 16}};
  const auto back = T2IAdapterConfig::from_json(light.to_json());
  EXPECT_EQ(back.kind, T2IAdapterKind::kLight);
  EXPECT_THAT(back.channels, ElementsAre(8, 16, 16)) << "the file leaves out the last level";
  EXPECT_THAT(error_of(ErrorKind::kMismatch,
                       [] {
                         T2IAdapterConfig::from_json({{"adapter_type", "full_adapter_xl"}});
                       }),
              HasSubstr("XL"));
  EXPECT_THAT(error_of(ErrorKind::kFormat,
                       [] {
                         T2IAdapterConfig::from_json({{"in_channels", 2}});
                       }),
              HasSubstr("in_channels"));
}

TEST(ControlNetConfigs, ThePictureHasOneHalvingLessThanWidths) {
  auto config = unet_json();
  config["conditioning_embedding_out_channels"] = {4, 8, 16};
  const auto read = ControlNetConfig::from_json(config);
  EXPECT_EQ(read.downscale(), 4);
  EXPECT_FALSE(read.reads_bgr);
  config["controlnet_conditioning_channel_order"] = "bgr";
  EXPECT_TRUE(ControlNetConfig::from_json(config).reads_bgr);
  config["controlnet_conditioning_channel_order"] = "gbr";
  EXPECT_THAT(error_of(ErrorKind::kFormat, [&] { ControlNetConfig::from_json(config); }),
              HasSubstr("gbr"));
}

TEST(ControlScales, GuessModeRisesInEqualRatiosToTheMiddleBlock) {
  EXPECT_THAT(control_scales(2, 0.5, /*guess_mode=*/false), ElementsAre(0.5, 0.5, 0.5));
  const auto scales = control_scales(4, 2.0, /*guess_mode=*/true);
  ASSERT_EQ(scales.size(), 5U);
  EXPECT_NEAR(scales.front(), 0.2, 1e-12);
  EXPECT_NEAR(scales.back(), 2.0, 1e-12);
  for (std::size_t i = 2; i < scales.size(); ++i) {
    EXPECT_NEAR(scales[i] / scales[i - 1], scales[1] / scales[0], 1e-9);
  }
}

TEST(Compute, NamesOfPrecisionsAreOneTable) {
  for (const auto dtype : {torch::kFloat32, torch::kBFloat16, torch::kFloat16}) {
    EXPECT_EQ(weights_dtype_named(name_of(dtype)), dtype);
  }
  EXPECT_EQ(weights_dtype_named("bf16"), torch::kBFloat16);
  EXPECT_EQ(compute_named("cpu", "float32").dtype, torch::kFloat32);
  const auto automatic = dtype_named("auto", torch::kCPU);
  EXPECT_TRUE(automatic == torch::kFloat32 || automatic == torch::kBFloat16);
  EXPECT_EQ(dtype_named("auto", torch::kCUDA), torch::kBFloat16);
}

TEST(Compute, WhatTheDeviceCannotDoIsRefused) {
  EXPECT_THAT(error_of(ErrorKind::kUsage, [] { dtype_named("float16", torch::kCPU); }),
              AllOf(HasSubstr("cuda"), HasSubstr("bfloat16")));
  EXPECT_EQ(dtype_named("float16", torch::kCUDA), torch::kFloat16);
  EXPECT_THAT(error_of(ErrorKind::kUsage, [] { dtype_named("bloat16"); }),
              AllOf(HasSubstr("bloat16"), HasSubstr("did you mean")));
  EXPECT_THAT(error_of(ErrorKind::kUsage, [] { weights_dtype_named("auto"); }), HasSubstr("auto"));
  EXPECT_THAT(error_of(ErrorKind::kUsage, [] { compute_named("gpu", "auto"); }), HasSubstr("gpu"));
}

}  // namespace
}  // namespace mos::nn
