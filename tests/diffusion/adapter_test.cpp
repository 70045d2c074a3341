#include "mos/diffusion/adapter.h"

#include <fmt/core.h>
#include <gmock/gmock.h>

#include "mos/base/error.h"
#include "mos/checkpoint/key_map.h"
#include "mos/diffusion/adapter_names.h"
#include "mos/diffusion/pipeline.h"
#include "mos/io/safetensors.h"
#include "mos/io/state_dict.h"
#include "tests/support/tiny_model.h"

namespace mos::diffusion {
namespace {

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

  /// What load_adapter makes of a single file with these tensors.
  io::StateDict loaded(const io::StateDict& tensors) {
    io::save_safetensors(folder_ / "adapter.safetensors", tensors);
    const auto adapter = load_adapter(folder_ / "adapter.safetensors", model_);
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
  StableDiffusion model_ = tiny::model();
};

TEST_F(Adapters, SingleFilesUnderDiffusersNamesNeedNoConfig) {
  for (const auto kind : {nn::T2IAdapterKind::kFull, nn::T2IAdapterKind::kLight}) {
    expect_same(loaded(t2i(kind)), t2i(kind));
  }
  expect_same(loaded(controlnet()), controlnet());
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

TEST_F(Adapters, ControlNetsOfTheOriginalCodeAreTheSame) {
  const auto tensors = controlnet();
  const checkpoint::KeyMap map({.unet = model_.unet->config(), .vae = {}});
  io::StateDict original;
  for (const auto& [key, tensor] : tensors) original[original_controlnet_key(key, map)] = tensor;
  EXPECT_EQ(original.size(), tensors.size());
  expect_same(loaded(original), tensors);
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

TEST_F(Adapters, OneOfAnotherFamilyIsRefusedWithBothSizes) {
  const auto wide = random_tensors(nn::T2IAdapter(
      nn::T2IAdapterConfig{.in_channels = 1, .channels = {8, 24}, .downscale_factor = 2}));
  EXPECT_THAT(refusal(wide), HasSubstr("features of 8, 24 channels, the U-Net has 8, 16"));
}

}  // namespace
}  // namespace mos::diffusion
