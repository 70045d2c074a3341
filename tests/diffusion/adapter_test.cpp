#include "mos/diffusion/adapter.h"

#include <fmt/core.h>
#include <gmock/gmock.h>

#include "mos/base/error.h"
#include "mos/checkpoint/key_map.h"
#include "mos/diffusion/adapter_names.h"
#include "mos/diffusion/model.h"
#include "mos/io/safetensors.h"
#include "mos/io/state_dict.h"
#include "tests/support/tiny_model.h"

namespace mos::diffusion {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

/// Files of tiny adapters for the tiny model, whose VAE shrinks pictures twice.
class Adapters : public ::testing::Test {
 protected:
  template <typename Network>
  io::StateDict random_tensors(Network network) {
    auto generator = seeded_generator(3);
    tiny::fill_randomly(*network, generator);
    return io::state_dict_of(*network);
  }

  io::StateDict t2i(nn::T2IAdapterKind kind) {
    return random_tensors(nn::T2IAdapter(nn::T2IAdapterConfig{
        .kind = kind, .in_channels = 1, .channels = {8, 16}, .downscale_factor = 2}));
  }

  io::StateDict controlnet() {
    nn::ControlNetConfig config;
    config.unet = model_.unet->config();
    config.conditioning_embedding_out_channels = {4, 6};
    return random_tensors(nn::ControlNetModel(config));
  }

  SpatialAdapter load(const io::StateDict& tensors, const std::string& name) {
    io::save_safetensors(folder_ / name, tensors);
    return load_adapter(folder_ / name, model_);
  }

  /// What load_adapter makes of a single file with these tensors.
  io::StateDict loaded(const io::StateDict& tensors) {
    const auto adapter = load(tensors, "adapter.safetensors");
    if (const auto* t2i = std::get_if<nn::T2IAdapter>(&adapter)) return io::state_dict_of(**t2i);
    return io::state_dict_of(*std::get<nn::ControlNetModel>(adapter));
  }

  std::string refusal(const io::StateDict& tensors) {
    try {
      loaded(tensors);
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  }

  static void expect_same(const io::StateDict& actual, const io::StateDict& expected) {
    ASSERT_EQ(actual.size(), expected.size());
    for (const auto& [key, tensor] : expected) EXPECT_TRUE(actual.at(key).equal(tensor)) << key;
  }

  TempDir folder_;
  Model model_ = tiny::model();
};

TEST_F(Adapters, SingleFilesUnderDiffusersNamesNeedNoConfig) {
  for (const auto kind : {nn::T2IAdapterKind::kFull, nn::T2IAdapterKind::kLight}) {
    expect_same(loaded(t2i(kind)), t2i(kind));
  }
  expect_same(loaded(controlnet()), controlnet());
}

TEST(T2IAdapterConfig, LightOnesOfDiffusersHaveOneLevelMoreThanTheyName) {
  // As its conversion script writes the colour adapter of Stable Diffusion 1.x.
  const auto config = nn::T2IAdapterConfig::from_json(
      {{"adapter_type", "light_adapter"}, {"channels", {320, 640, 1280}}, {"num_res_blocks", 4}});
  EXPECT_THAT(config.channels, ElementsAre(320, 640, 1280, 1280));
  EXPECT_EQ(nn::T2IAdapterConfig::from_json(config.to_json()).channels, config.channels);
}

TEST_F(Adapters, AFolderOfALightAdapterIsReadAsDiffusersWritesIt) {
  auto settings = tiny::settings();
  settings.configs[checkpoint::Part::kUNet]["block_out_channels"] = {16, 16};
  model_ = Model::create(tiny::tokenizer(), settings);
  const auto tensors = random_tensors(nn::T2IAdapter(nn::T2IAdapterConfig{
      .kind = nn::T2IAdapterKind::kLight, .channels = {16, 16}, .downscale_factor = 2}));
  make_folders(folder_ / "light");
  io::save_safetensors(folder_ / "light/diffusion_pytorch_model.safetensors", tensors);
  write_text_file(folder_ / "light/config.json",
                  R"({"_class_name": "T2IAdapter", "adapter_type": "light_adapter",
                      "channels": [16], "in_channels": 3, "num_res_blocks": 2,
                      "downscale_factor": 2})");
  const auto adapter = load_adapter(folder_ / "light", model_);
  expect_same(io::state_dict_of(*std::get<nn::T2IAdapter>(adapter)), tensors);
}

/// TencentARC's names: the blocks of the full adapter in one row, those of the light one by level.
std::string original_t2i_key(const std::string& key, bool light) {
  constexpr std::string_view kBody = "adapter.body.";
  if (!key.starts_with(kBody)) return key.substr(std::string_view("adapter.").size());
  const auto level = key[kBody.size()] - '0';
  const auto rest = key.substr(kBody.size() + 2);
  constexpr std::string_view kResnets = "resnets.";
  if (!rest.starts_with(kResnets)) {
    return fmt::format("body.{}.{}", light ? level : 2 * level, rest);
  }
  const auto block = rest[kResnets.size()] - '0';
  const auto end = rest.substr(kResnets.size() + 2);
  return light ? fmt::format("body.{}.body.{}.{}", level, block, end)
               : fmt::format("body.{}.{}", 2 * level + block, end);
}

TEST_F(Adapters, T2IAdaptersOfTheOriginalCodeAreTheSame) {
  for (const bool light : {false, true}) {
    const auto tensors = t2i(light ? nn::T2IAdapterKind::kLight : nn::T2IAdapterKind::kFull);
    io::StateDict original;
    for (const auto& [key, tensor] : tensors) original[original_t2i_key(key, light)] = tensor;
    expect_same(loaded(original), tensors);
  }
}

/// lllyasviel's names (cldm/cldm.py).
std::string original_controlnet_key(const std::string& key, const checkpoint::KeyMap& map) {
  const auto kind = key.substr(key.rfind('.') + 1);
  const auto number_in = [&](std::string_view start) {
    return std::stoi(key.substr(start.size()));
  };
  if (key.starts_with("controlnet_mid_block.")) return "control_model.middle_block_out.0." + kind;
  if (key.starts_with("controlnet_down_blocks.")) {
    return fmt::format("control_model.zero_convs.{}.0.{}", number_in("controlnet_down_blocks."),
                       kind);
  }
  if (key.starts_with("controlnet_cond_embedding.blocks.")) {
    const auto block = number_in("controlnet_cond_embedding.blocks.");
    return fmt::format("control_model.input_hint_block.{}.{}", 2 * (block + 1), kind);
  }
  if (key.starts_with("controlnet_cond_embedding.conv_in.")) {
    return "control_model.input_hint_block.0." + kind;
  }
  if (key.starts_with("controlnet_cond_embedding.conv_out.")) {
    return "control_model.input_hint_block.14." + kind;
  }
  const auto ldm = map.to_ldm("unet/" + key).key;
  return "control_model." + ldm.substr(std::string_view("model.diffusion_model.").size());
}

io::StateDict original_controlnet(const io::StateDict& tensors, const nn::UNetConfig& unet) {
  const checkpoint::KeyMap map({.unet = unet, .vae = {}});
  io::StateDict original;
  for (const auto& [key, tensor] : tensors) original[original_controlnet_key(key, map)] = tensor;
  return original;
}

TEST_F(Adapters, ControlNetsOfTheOriginalCodeAreTheSame) {
  const auto tensors = controlnet();
  const auto original = original_controlnet(tensors, model_.unet->config());
  EXPECT_EQ(original.size(), tensors.size());
  expect_same(loaded(original), tensors);
}

TEST_F(Adapters, TheModelBesideAControlNetIsLeftOutAndNothingElse) {
  const auto tensors = controlnet();
  auto whole = original_controlnet(tensors, model_.unet->config());
  for (const char* key :
       {"model.diffusion_model.input_blocks.0.0.weight", "first_stage_model.quant_conv.bias",
        "cond_stage_model.transformer.text_model.final_layer_norm.bias", "betas",
        "sqrt_alphas_cumprod", "posterior_mean_coef1"}) {
    whole[key] = torch::zeros({1});
  }
  expect_same(loaded(whole), tensors);
  whole["difference"] = torch::zeros({1});
  EXPECT_THAT(refusal(whole), HasSubstr("1 unexpected: difference"));
}

TEST_F(Adapters, AShuffleControlNetIsToldByItsNameAndAddsTheMeanOverAllPositions) {
  const torch::NoGradGuard no_grad;
  const auto run = [&](const std::string& name) {
    auto network = std::get<nn::ControlNetModel>(load(controlnet(), name));
    const auto picture = network->embed_picture(torch::linspace(0, 1, 192).view({1, 3, 8, 8}));
    return network(torch::linspace(-1, 1, 64).view({1, 4, 4, 4}),
                   torch::full({1}, 9, torch::kInt64), torch::ones({1, 12, 16}), picture);
  };
  const auto plain = run("control_v11p_sd15_canny.safetensors");
  const auto shuffle = run("control_v11e_sd15_shuffle.safetensors");
  for (std::size_t i = 0; i < plain.down.size(); ++i) {
    const auto mean = plain.down[i].mean({2, 3}, true).expand_as(plain.down[i]);
    EXPECT_FALSE(plain.down[i].allclose(mean)) << i;
    EXPECT_TRUE(shuffle.down[i].equal(mean)) << i;
  }
  EXPECT_TRUE(shuffle.mid.equal(plain.mid.mean({2, 3}, true).expand_as(plain.mid)));
}

TEST_F(Adapters, AControlNetForPicturesWithBlueFirstTurnsTheirChannelsAround) {
  const torch::NoGradGuard no_grad;
  auto rgb = std::get<nn::ControlNetModel>(load(controlnet(), "edges.safetensors"));
  auto json = tiny::unet_config();
  json["controlnet_conditioning_channel_order"] = "bgr";
  EXPECT_TRUE(nn::ControlNetConfig::from_json(json).reads_bgr);
  auto config = rgb->config();
  config.reads_bgr = true;
  nn::ControlNetModel bgr(config);
  io::load_into(*bgr, io::state_dict_of(*rgb), {.origin = "the same"});
  const auto picture = torch::linspace(0, 1, 192).view({1, 3, 8, 8});
  EXPECT_TRUE(bgr->embed_picture(picture).equal(rgb->embed_picture(picture.flip({1}))));
  json["controlnet_conditioning_channel_order"] = "gbr";
  EXPECT_THROW(nn::ControlNetConfig::from_json(json), Error);
}

TEST_F(Adapters, HalfOfOneIsRefusedWithAllKeysThatAreMissing) {
  auto tensors = controlnet();
  tensors.erase("controlnet_mid_block.weight");
  tensors.erase("mid_block.resnets.0.conv1.bias");
  tensors["stray"] = torch::zeros({1});
  const auto message = refusal(tensors);
  EXPECT_THAT(message, HasSubstr("2 missing: controlnet_mid_block.weight, "
                                 "mid_block.resnets.0.conv1.bias"));
  EXPECT_THAT(message, HasSubstr("1 unexpected: stray"));
}

TEST_F(Adapters, OtherNetworksWithABodyAreNone) {
  EXPECT_THAT(refusal({{"conv_first.weight", torch::zeros({1})},
                       {"body.0.rdb1.conv1.weight", torch::zeros({1})}}),
              HasSubstr("neither a T2I-Adapter nor a ControlNet"));
}

TEST_F(Adapters, OneOfAnotherFamilyIsRefusedWithBothSizes) {
  const auto wide = random_tensors(nn::T2IAdapter(
      nn::T2IAdapterConfig{.in_channels = 1, .channels = {8, 24}, .downscale_factor = 2}));
  EXPECT_THAT(refusal(wide), HasSubstr("features of 8, 24 channels, the U-Net has 8, 16"));
  // Those of XL shrink pictures 16 times and have the same channels.
  const auto coarse = random_tensors(nn::T2IAdapter(
      nn::T2IAdapterConfig{.in_channels = 3, .channels = {8, 16}, .downscale_factor = 4}));
  EXPECT_THAT(refusal(coarse), HasSubstr("it reads 48 numbers for each latent position, expected "
                                         "4 of grey pictures or 12 of colour"));

  auto of_other_text = controlnet();
  for (auto& [key, tensor] : of_other_text) {
    if (key.ends_with("attn2.to_k.weight") || key.ends_with("attn2.to_v.weight")) {
      tensor = torch::zeros({tensor.size(0), 24});
    }
  }
  EXPECT_THAT(refusal(of_other_text), HasSubstr("text of width 24, the U-Net of width 16"));
  auto of_fewer_blocks = controlnet();
  of_fewer_blocks.erase("controlnet_down_blocks.3.weight");
  EXPECT_THAT(refusal(of_fewer_blocks), HasSubstr("it steers 3 skip connections, the U-Net has 4"));
}

}  // namespace
}  // namespace mos::diffusion
