#include "mos/checkpoint/key_map.h"

#include <gmock/gmock.h>

#include <set>

#include "mos/checkpoint/reference_models.h"
#include "mos/io/state_dict.h"
#include "mos/nn/parameter.h"

namespace mos::checkpoint {
namespace {

using ::testing::ElementsAre;

struct FullSize {
  const char* name;
  TextEncoderKind text;
  std::size_t unet_keys, vae_keys, text_keys;  ///< Of the published files.
};

class KeysOfAModel : public ::testing::TestWithParam<FullSize> {
 protected:
  KeysOfAModel() {
    const auto configs = reference_configs(GetParam().name);
    const nn::ShapesOnly no_memory;
    nn::CLIPTextModel text(nn::ClipTextConfig::from_json(configs.networks.at(Part::kTextEncoder)));
    nn::AutoencoderKL vae(nn::VaeConfig::from_json(configs.networks.at(Part::kVae)));
    nn::UNet2DConditionModel unet(nn::UNetConfig::from_json(configs.networks.at(Part::kUNet)));
    add("text_encoder", *text);
    add("vae", *vae);
    add("unet", *unet);
    sizes_ = {.unet = unet->config(),
              .vae = vae->config(),
              .text_layers = text->config().num_hidden_layers,
              .text = GetParam().text};
  }

  void add(const std::string& folder, const torch::nn::Module& network) {
    for (const auto& [key, tensor] : io::state_dict_of(network)) {
      keys_.insert(folder + "/" + key);
      ++count_[folder];
    }
  }

  std::set<std::string> keys_;
  std::map<std::string, std::size_t> count_;
  KeyMapSizes sizes_;
};

TEST_P(KeysOfAModel, AreAsManyAsInThePublishedFiles) {
  EXPECT_EQ(count_["unet"], GetParam().unet_keys);
  EXPECT_EQ(count_["vae"], GetParam().vae_keys);
  EXPECT_EQ(count_["text_encoder"], GetParam().text_keys);
}

TEST_P(KeysOfAModel, GoToTheOriginalLayoutAndBack) {
  const KeyMap map(sizes_);
  std::set<std::string> places;
  for (const auto& key : keys_) {
    const auto place = map.to_ldm(key);
    ASSERT_FALSE(place.key.empty()) << key;
    const auto back = map.to_diffusers(place.key);
    ASSERT_EQ(back.size(), place.pieces) << key;
    EXPECT_EQ(back[place.piece], key);
    EXPECT_TRUE(places.insert(place.key + "#" + std::to_string(place.piece)).second)
        << place.key << " holds two tensors";
  }
}

INSTANTIATE_TEST_SUITE_P(
    FullSize, KeysOfAModel,
    ::testing::Values(FullSize{"sd15", TextEncoderKind::kTransformers, 686, 248, 196},
                      FullSize{"sd21", TextEncoderKind::kOpenClip, 686, 248, 372}),
    [](const auto& test) { return test.param.name; });

KeyMapSizes sd(TextEncoderKind kind) { return {.unet = {}, .vae = {}, .text = kind}; }

TEST(KeyMap, KnowsNamesOfTheOriginalCode) {
  const KeyMap map(sd(TextEncoderKind::kTransformers));
  EXPECT_THAT(map.to_diffusers("model.diffusion_model.input_blocks.4.1.proj_in.weight"),
              ElementsAre("unet/down_blocks.1.attentions.0.proj_in.weight"));
  EXPECT_THAT(map.to_diffusers("model.diffusion_model.output_blocks.5.2.conv.bias"),
              ElementsAre("unet/up_blocks.1.upsamplers.0.conv.bias"));
  EXPECT_THAT(map.to_diffusers("model.diffusion_model.middle_block.2.out_layers.3.weight"),
              ElementsAre("unet/mid_block.resnets.1.conv2.weight"));
  EXPECT_THAT(map.to_diffusers("first_stage_model.decoder.up.3.block.0.norm1.weight"),
              ElementsAre("vae/decoder.up_blocks.0.resnets.0.norm1.weight"));
  EXPECT_THAT(
      map.to_diffusers("cond_stage_model.transformer.text_model.encoder.layers.3.mlp.fc1.bias"),
      ElementsAre("text_encoder/text_model.encoder.layers.3.mlp.fc1.bias"));
  EXPECT_THAT(map.to_diffusers("model.diffusion_model.label_emb.0.0.weight"), ElementsAre());
}

TEST(KeyMap, OpenClipKeepsThreeProjectionsInOneMatrix) {
  const KeyMap map(sd(TextEncoderKind::kOpenClip));
  const std::string layer = "text_encoder/text_model.encoder.layers.0.self_attn.";
  EXPECT_THAT(
      map.to_diffusers("cond_stage_model.model.transformer.resblocks.0.attn.in_proj_weight"),
      ElementsAre(layer + "q_proj.weight", layer + "k_proj.weight", layer + "v_proj.weight"));
  EXPECT_EQ(map.to_ldm(layer + "v_proj.bias").piece, 2U);
}

}  // namespace
}  // namespace mos::checkpoint
