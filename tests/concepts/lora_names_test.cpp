#include "mos/concepts/lora_names.h"

#include <gmock/gmock.h>

#include <set>

#include "mos/base/error.h"
#include "mos/concepts/lora_collector.h"
#include "mos/concepts/lora_file.h"
#include "mos/concepts/peft_config.h"
#include "mos/nn/clip.h"
#include "mos/nn/unet.h"

namespace {

using enum mos::checkpoint::Part;

using mos::concepts::ConceptDelta;
using mos::concepts::foreign_kind;
using mos::concepts::format_lora_key;
using mos::concepts::LayerUpdates;
using mos::concepts::LoraCollector;
using mos::concepts::LoraDialect;
using mos::concepts::LoraKey;
using mos::concepts::LoraPart;
using mos::concepts::LowRank;
using mos::concepts::parse_lora_key;
using testing::HasSubstr;

/// A pair of rank 1 for every layer of a network, in the layer's own shape.
LayerUpdates every_layer(torch::nn::Module& network) {
  LayerUpdates pairs;
  mos::nn::for_each_lora_layer(network, [&](const std::string& name, mos::nn::LoraLayer& layer) {
    auto down = layer.weight.sizes().vec(), up = std::vector<std::int64_t>(down.size(), 1);
    up[0] = down[0];
    down[0] = 1;
    const auto seed = static_cast<float>(pairs.size() + 1);
    pairs[name] =
        LowRank{.down = torch::full(down, seed), .up = torch::full(up, -seed), .scale = 0.5};
  });
  return pairs;
}

/// Weights are never touched, so a model of full size costs nothing.
ConceptDelta full_size(const mos::nn::ClipTextConfig& text, const mos::nn::UNetConfig& unet) {
  mos::nn::CLIPTextModel encoder(text);
  mos::nn::UNet2DConditionModel network(unet);
  return {.words = {},
          .updates = {{kTextEncoder, every_layer(*encoder)}, {kUNet, every_layer(*network)}},
          .metadata = {}};
}

const ConceptDelta& stable_diffusion_1() {
  static const auto delta = full_size({}, {});
  return delta;
}

ConceptDelta make_stable_diffusion_2() {
  mos::nn::ClipTextConfig text;
  text.hidden_size = 1024;
  text.intermediate_size = 4096;
  text.num_hidden_layers = 23;
  text.num_attention_heads = 16;
  mos::nn::UNetConfig unet;
  unet.cross_attention_dim = 1024;
  unet.heads = {5, 10, 20, 20};
  unet.use_linear_projection = true;
  return full_size(text, unet);
}

const ConceptDelta& stable_diffusion_2() {
  static const auto delta = make_stable_diffusion_2();
  return delta;
}

void expect_same(const LayerUpdates& actual, const LayerUpdates& expected) {
  ASSERT_EQ(actual.size(), expected.size());
  for (const auto& [layer, update] : expected) {
    ASSERT_TRUE(actual.contains(layer)) << layer;
    const auto &pair = update.low_rank(), &read = actual.at(layer).low_rank();
    EXPECT_TRUE(read.down.equal(pair.down)) << layer;
    EXPECT_TRUE(read.up.equal(pair.up)) << layer;
    EXPECT_EQ(read.scale, pair.scale) << layer;
  }
}

void expect_round_trip(const ConceptDelta& delta, LoraDialect dialect) {
  const auto dict = mos::concepts::lora_tensors(delta, dialect);
  LoraCollector collector;
  for (const auto& [key, tensor] : dict) {
    EXPECT_TRUE(collector.take(key, tensor)) << key;
    EXPECT_FALSE(foreign_kind(key)) << key;
  }
  ConceptDelta read;
  mos::concepts::KeyReport report;
  const auto configs = mos::concepts::peft_configs(
      {{mos::concepts::kAdapterMetadata, mos::concepts::peft_metadata(delta)}}, "test");
  collector.finish(configs, read, report);
  EXPECT_EQ(report.matched.size(), dict.size());
  EXPECT_TRUE(report.missing.empty() && report.wrong.empty());
  EXPECT_EQ(collector.dialects().size(), 1U);
  EXPECT_EQ(collector.dialects().begin()->first, dialect);
  expect_same(read.of(kTextEncoder), delta.of(kTextEncoder));
  expect_same(read.of(kUNet), delta.of(kUNet));
}

class EveryDialect : public testing::TestWithParam<LoraDialect> {};

TEST_P(EveryDialect, EveryLayerOfStableDiffusion1ComesBack) {
  expect_round_trip(stable_diffusion_1(), GetParam());
}

TEST_P(EveryDialect, EveryLayerOfStableDiffusion2ComesBack) {
  expect_round_trip(stable_diffusion_2(), GetParam());
}

INSTANTIATE_TEST_SUITE_P(LoraNames, EveryDialect,
                         testing::Values(LoraDialect::kOfficial, LoraDialect::kKohya,
                                         LoraDialect::kDiffusers, LoraDialect::kPeft));

TEST(LoraNames, FlatNamesOfAModelAreDistinct) {
  for (const auto* delta : {&stable_diffusion_1(), &stable_diffusion_2()}) {
    std::set<std::string> flat;
    for (const auto& [layer, update] : delta->of(kUNet))
      flat.insert(mos::concepts::flat_name(layer));
    EXPECT_EQ(flat.size(), delta->of(kUNet).size());
  }
}

struct Example {
  const char* key;
  LoraDialect dialect;
  mos::checkpoint::Part network;
  const char* layer;
  LoraPart part;
};

/// Keys as the programs write them, copied from their files.
TEST(LoraNames, KeysOfOtherProgramsAreUnderstood) {
  using enum LoraPart;
  constexpr auto kText = kTextEncoder;
  const Example examples[] = {
      {"lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_out_0.lora_down.weight",
       LoraDialect::kKohya, kUNet, "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_out.0",
       kDown},
      {"lora_unet_up_blocks_1_attentions_2_transformer_blocks_0_ff_net_0_proj.alpha",
       LoraDialect::kKohya, kUNet, "up_blocks.1.attentions.2.transformer_blocks.0.ff.net.0.proj",
       kAlpha},
      {"lora_unet_mid_block_attentions_0_proj_in.lora_up.weight", LoraDialect::kKohya, kUNet,
       "mid_block.attentions.0.proj_in", kUp},
      {"lora_unet_down_blocks_1_resnets_0_conv_shortcut.lora_mid.weight", LoraDialect::kKohya,
       kUNet, "down_blocks.1.resnets.0.conv_shortcut", kMid},
      {"lora_unet_up_blocks_0_resnets_0_time_emb_proj.lora_up.weight", LoraDialect::kKohya, kUNet,
       "up_blocks.0.resnets.0.time_emb_proj", kUp},
      {"lora_unet_down_blocks_2_downsamplers_0_conv.lora_up.weight", LoraDialect::kKohya, kUNet,
       "down_blocks.2.downsamplers.0.conv", kUp},
      {"lora_te_text_model_encoder_layers_11_self_attn_out_proj.lora_down.weight",
       LoraDialect::kKohya, kText, "text_model.encoder.layers.11.self_attn.out_proj", kDown},
      {"lora_te_text_model_encoder_layers_0_mlp_fc1.alpha", LoraDialect::kKohya, kText,
       "text_model.encoder.layers.0.mlp.fc1", kAlpha},
      {"unet.mid_block.attentions.0.transformer_blocks.0.attn2.to_k.lora.down.weight",
       LoraDialect::kDiffusers, kUNet, "mid_block.attentions.0.transformer_blocks.0.attn2.to_k",
       kDown},
      {"text_encoder.text_model.encoder.layers.3.self_attn.q_proj.lora_linear_layer.up.weight",
       LoraDialect::kDiffusers, kText, "text_model.encoder.layers.3.self_attn.q_proj", kUp},
      {"unet.mid_block.attentions.0.transformer_blocks.0.attn1.processor.to_out_lora.up.weight",
       LoraDialect::kDiffusersOld, kUNet,
       "mid_block.attentions.0.transformer_blocks.0.attn1.to_out.0", kUp},
      {"down_blocks.0.attentions.0.transformer_blocks.0.attn1.processor.to_q_lora.down.weight",
       LoraDialect::kDiffusersOld, kUNet,
       "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q", kDown},
      {"text_encoder.text_model.encoder.layers.0.self_attn.to_v_lora.down.weight",
       LoraDialect::kDiffusersOld, kText, "text_model.encoder.layers.0.self_attn.v_proj", kDown},
      {"base_model.model.down_blocks.0.attentions.0.proj_out.lora_A.weight", LoraDialect::kPeft,
       kUNet, "down_blocks.0.attentions.0.proj_out", kDown},
      {"base_model.model.text_model.encoder.layers.0.self_attn.k_proj.lora_B.default.weight",
       LoraDialect::kPeft, kText, "text_model.encoder.layers.0.self_attn.k_proj", kUp},
      {"unet.up_blocks.3.resnets.2.conv1.lora_B.weight", LoraDialect::kPeft, kUNet,
       "up_blocks.3.resnets.2.conv1", kUp},
  };
  for (const auto& example : examples) {
    const auto key = parse_lora_key(example.key);
    ASSERT_TRUE(key) << example.key;
    EXPECT_EQ(key->dialect, example.dialect) << example.key;
    EXPECT_EQ(key->network, example.network) << example.key;
    EXPECT_EQ(key->layer, example.layer);
    EXPECT_EQ(key->part, example.part) << example.key;
  }
}

TEST(LoraNames, WhatWouldNotComeBackFromWritingIsNoKey) {
  for (const auto* key : {"text_encoder/base_model.model.attn1.lora.down.weight",
                          "text_encoder/base_model.model.attn1.lora_up.weight",
                          "unet.base_model.model.base_model.model.mlp.to_k.lora_up.weight",
                          "lora_unet_down.blocks_0.lora_down.weight"}) {
    EXPECT_EQ(parse_lora_key(key), std::nullopt) << key;
  }
}

TEST(LoraNames, ALayerThatAFlatNameWouldConfuseIsNotWrittenSo) {
  LoraKey key{.dialect = LoraDialect::kKohya, .layer = "down_blocks.0.attn_x"};
  EXPECT_THROW(format_lora_key(key), mos::Error);
  key.dialect = LoraDialect::kPeft;
  EXPECT_EQ(parse_lora_key(format_lora_key(key)), key);
}

TEST(LoraNames, OtherKeysAreNone) {
  for (const char* key : {"", ".lora_down.weight", "unet/.lora_down.weight", "apples",
                          "conv.lora_A.weight", "unet.conv_in.weight"}) {
    EXPECT_FALSE(parse_lora_key(key)) << key;
  }
}

TEST(LoraNames, NetworksThatAreNotAppliedHaveTheirName) {
  const std::pair<const char*, const char*> examples[] = {
      {"lora_unet_mid_block_attentions_0_proj_in.oft_blocks", "OFT"},
      {"oft_unet_mid_block_attentions_0_proj_in.oft_diag", "OFT"},
      {"lora_unet_mid_block_attentions_0_proj_in.on_input", "(IA)"},
      {"lora_unet_mid_block_attentions_0_proj_in.a1.weight", "GLoRA"},
      {"lora_te1_text_model_encoder_layers_0_mlp_fc1.alpha", "Stable Diffusion XL"},
      {"lora_te2_text_model_encoder_layers_0_mlp_fc1.alpha", "Stable Diffusion XL"},
      {"lora_unet_input_blocks_4_1_transformer_blocks_1_attn1_to_q.lora_down.weight",
       "Stable Diffusion XL"},
      {"clip_g", "Stable Diffusion XL"},
      {"lora_unet_double_blocks_0_img_attn_proj.alpha", "FLUX"},
  };
  for (const auto& [key, kind] : examples) {
    ASSERT_TRUE(foreign_kind(key)) << key;
    EXPECT_THAT(std::string(*foreign_kind(key)), HasSubstr(kind));
  }
}

}  // namespace
