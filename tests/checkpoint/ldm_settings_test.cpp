#include "mos/checkpoint/ldm_settings.h"

#include <gmock/gmock.h>

#include <cmath>

#include "mos/base/error.h"
#include "mos/base/file.h"
#include "mos/base/log.h"
#include "mos/checkpoint/parts.h"
#include "mos/checkpoint/reference_models.h"
#include "mos/io/state_dict.h"
#include "mos/nn/parameter.h"
#include "tests/support/temp_dir.h"

namespace mos::checkpoint {
namespace {

using ::testing::HasSubstr;

/// Names and shapes of a whole model in the original layout, as published files have them.
class PublishedFile {
 public:
  PublishedFile(const std::string& name, TextEncoderKind kind)
      : configs(reference_configs(name)), map_(sizes_for(configs, kind)) {
    const nn::ShapesOnly no_memory;
    nn::CLIPTextModel text(nn::ClipTextConfig::from_json(configs.networks.at(Part::kTextEncoder)));
    nn::AutoencoderKL vae(nn::VaeConfig::from_json(configs.networks.at(Part::kVae)));
    nn::UNet2DConditionModel unet(nn::UNetConfig::from_json(configs.networks.at(Part::kUNet)));
    add("text_encoder", *text);
    add("vae", *vae);
    add("unet", *unet);
  }

  ModelConfigs configs;
  io::StateDict tensors;

 private:
  static KeyMapSizes sizes_for(const ModelConfigs& configs, TextEncoderKind kind) {
    const auto text = nn::ClipTextConfig::from_json(configs.networks.at(Part::kTextEncoder));
    return {.unet = nn::UNetConfig::from_json(configs.networks.at(Part::kUNet)),
            .vae = nn::VaeConfig::from_json(configs.networks.at(Part::kVae)),
            .text_layers = text.num_hidden_layers,
            .text = kind};
  }

  void add(const std::string& folder, const torch::nn::Module& network) {
    for (const auto& [key, tensor] : io::state_dict_of(network)) {
      tensors[map_.to_ldm(folder + "/" + key).key] =
          torch::empty(tensor.sizes(), tensor.options().device(torch::kMeta));
    }
  }

  KeyMap map_;
};

PublishedFile sd15() { return {"sd15", TextEncoderKind::kTransformers}; }

/// With the block of OpenCLIP that diffusers leaves out.
PublishedFile sd21() {
  PublishedFile file("sd21", TextEncoderKind::kOpenClip);
  file.tensors["cond_stage_model.model.transformer.resblocks.23.mlp.c_fc.weight"] =
      torch::empty({4096, 1024}, torch::kMeta);
  return file;
}

Checkpoint settings_of(const PublishedFile& file, const LdmConfig& config = {}) {
  Checkpoint checkpoint;
  derive_settings(checkpoint, file.tensors, config, prediction_of(file.tensors, {}, {}, config));
  return checkpoint;
}

/// What `found` has for every key of `published`; more keys are the defaults of diffusers.
void expect_has_all(const Json& found, const Json& published) {
  for (const auto& [key, value] : published.items()) {
    ASSERT_TRUE(found.contains(key)) << key;
    EXPECT_EQ(found.at(key), value) << key;
  }
}

void expect_settings(const Checkpoint& found, const ModelConfigs& published) {
  expect_has_all(found.networks.at(Part::kTextEncoder).config,
                 published.networks.at(Part::kTextEncoder));
  expect_has_all(found.networks.at(Part::kVae).config, published.networks.at(Part::kVae));
  expect_has_all(found.networks.at(Part::kUNet).config, published.networks.at(Part::kUNet));
  expect_has_all(found.scheduler_config, published.scheduler);
}

TEST(LdmSettings, ShapesOfSd15GiveItsPublishedConfigs) {
  const auto file = sd15();
  expect_settings(settings_of(file), file.configs);
}

TEST(LdmSettings, ShapesOfSd21GiveItsPublishedConfigsWithoutTheLastTextLayer) {
  const auto file = sd21();
  expect_settings(settings_of(file), file.configs);
}

TEST(LdmSettings, TheLastTextLayerStaysWhereTheConfigSaysSo) {
  const auto found = settings_of(sd21(), {.text_layer = "last"});
  EXPECT_EQ(found.networks.at(Part::kTextEncoder).config.at("num_hidden_layers"), 24);
}

TEST(Prediction, IsDecidedByTheStrongestWordOnIt) {
  auto tensors = sd21().tensors;
  const auto type = [&](const std::string& asked, const std::string& config,
                        const std::map<std::string, std::string>& metadata) {
    return prediction_of(tensors, metadata, {.prediction_type = asked},
                         {.parameterization = config})
        .type;
  };
  const std::map<std::string, std::string> says_noise = {{"modelspec.prediction_type", "epsilon"}};
  EXPECT_EQ(type("epsilon", "v", {}), "epsilon");
  EXPECT_EQ(type("", "v", says_noise), "v_prediction");
  EXPECT_EQ(type("", "eps", {}), "epsilon");
  EXPECT_EQ(type("", "", says_noise), "epsilon");
  EXPECT_EQ(type("", "", {{"global_step", "875000"}}), "epsilon");
  EXPECT_EQ(type("", "", {{"global_step", "140000"}}), "v_prediction");
  tensors["v_pred"] = torch::empty({0});
  EXPECT_EQ(type("", "", {{"global_step", "875000"}}), "v_prediction");
}

TEST(Prediction, AGuessIsCalledOne) {
  EXPECT_THAT(prediction_of(sd21().tensors, {}, {}, {}).reason, HasSubstr("guessed"));
  const auto certain = prediction_of(sd15().tensors, {}, {}, {});
  EXPECT_EQ(certain.type, "epsilon");
  EXPECT_THAT(certain.reason, ::testing::Not(HasSubstr("guessed")));
}

TEST(Prediction, OfA2xFileIsGuessedByTheSpreadOfOneBias) {
  auto tensors = sd21().tensors;
  auto& bias =
      tensors.at("model.diffusion_model.output_blocks.11.1.transformer_blocks.0.norm1.bias");
  // Half of the numbers above their mean and half below it: that far is their standard deviation.
  const auto guess = [&](double spread) {
    bias = torch::cat({torch::full({160}, 0.5 + spread), torch::full({160}, 0.5 - spread)});
    return prediction_of(tensors, {}, {}, {});
  };
  EXPECT_EQ(guess(0.1).type, "v_prediction");
  EXPECT_EQ(guess(0.08).type, "epsilon");
  EXPECT_THAT(guess(0.08).reason, HasSubstr("guessed"));
  EXPECT_THAT(guess(0.08).reason, HasSubstr("0.080"));
  bias = torch::full({320}, NAN);
  EXPECT_EQ(prediction_of(tensors, {}, {}, {}).type, "v_prediction");  // as without numbers
  tensors["v_pred"] = torch::empty({0});
  EXPECT_EQ(guess(0.08).type, "v_prediction");
}

TEST(ZeroTerminalSnr, IsForModelsThatPredictV) {
  std::string warned;
  const log::ScopedSink sink([&](log::Level, std::string_view text) { warned += text; });
  auto v = sd21(), noise = sd15();
  EXPECT_FALSE(settings_of(v).scheduler_config.contains("rescale_betas_zero_snr"));
  for (auto* file : {&v, &noise}) file->tensors["ztsnr"] = torch::empty({0});
  const auto found = settings_of(v).scheduler_config;
  EXPECT_EQ(found.at("rescale_betas_zero_snr"), true);
  EXPECT_EQ(found.at("timestep_spacing"), "trailing");
  EXPECT_EQ(warned, "");
  EXPECT_FALSE(settings_of(noise).scheduler_config.contains("rescale_betas_zero_snr"));
  EXPECT_THAT(warned, HasSubstr("ztsnr"));
}

class LdmYaml : public ::testing::Test {
 protected:
  LdmConfig read(const std::string& text) const {
    const auto path = directory_ / "model.yaml";
    write_text_file(path, text);
    return read_ldm_config(path);
  }

  /// Of a file that nobody named.
  LdmConfig read_beside(const std::string& text) const {
    const auto path = directory_ / "model.yaml";
    write_text_file(path, text);
    return read_ldm_config_beside(path);
  }

  std::string error_of(const std::string& text) const {
    try {
      read(text);
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::kFormat);
      return error.what();
    }
    ADD_FAILURE() << text << " was read";
    return "";
  }

 private:
  TempDir directory_;
};

TEST_F(LdmYaml, SaysWhatTensorsDoNot) {
  const auto config = read(
      "model:\n"
      "  target: ldm.models.diffusion.ddpm.LatentDiffusion\n"
      "  params:\n"
      "    parameterization: \"v\"  # of 768-v\n"
      "    linear_start: 0.001\n"
      "    timesteps: 500\n"
      "    cond_stage_config:\n"
      "      target: ldm.modules.encoders.modules.FrozenOpenCLIPEmbedder\n"
      "      params:\n"
      "        freeze: True\n"
      "        layer: \"penultimate\"\n"
      "    unet_config:\n"
      "      params:\n"
      "        attention_resolutions: [ 4, 2, 1 ]\n"
      "        channel_mult:\n"
      "        - 1\n"
      "        - 2\n");
  EXPECT_EQ(config.parameterization, "v");
  EXPECT_DOUBLE_EQ(config.linear_start, 0.001);
  EXPECT_DOUBLE_EQ(config.linear_end, LdmConfig{}.linear_end);
  EXPECT_EQ(config.timesteps, 500);
  EXPECT_EQ(config.text_layer, "penultimate");
}

TEST_F(LdmYaml, PredictsTheNoiseUnlessItSaysOtherwise) {
  EXPECT_EQ(read("model:\n  params:\n    timesteps: 1000\n").parameterization, "eps");
}

std::string with_embedder(const std::string& params) {
  return "model:\n"
         "  params:\n"
         "    cond_stage_config:\n"
         "      target: ldm.modules.encoders.modules.FrozenOpenCLIPEmbedder\n"
         "      params:\n"
         "        freeze: True\n" +
         params;
}

TEST_F(LdmYaml, OpenClipEndsAtTheLastLayerUnlessItSaysOtherwise) {
  EXPECT_EQ(read(with_embedder("")).text_layer, "last");
  EXPECT_EQ(read(with_embedder("        layer: penultimate\n")).text_layer, "penultimate");
}

TEST_F(LdmYaml, OfSomethingElseIsLeftAloneBesideAModel) {
  std::string warned;
  const log::ScopedSink sink([&](log::Level, std::string_view text) { warned += text; });
  EXPECT_EQ(read_beside("model:\n  params:\n    parameterization: \"v\"\n").parameterization, "v");
  EXPECT_EQ(warned, "");
  EXPECT_EQ(read_beside("train:\n  steps: 3\n").parameterization, "");
  EXPECT_THAT(warned, HasSubstr("model.yaml is not used"));
  EXPECT_THROW(read_beside("model:\n  params:\n    parameterization: x0\n"), Error);
}

TEST_F(LdmYaml, OfSomethingElseIsRefused) {
  EXPECT_THAT(error_of(with_embedder("        layer: pooled\n")), HasSubstr("\"pooled\""));

  EXPECT_THAT(error_of("train:\n  steps: 3\n"), HasSubstr("no \"model: params:\""));
  EXPECT_THAT(error_of("model:\n  params:\n    parameterization: x0\n"), HasSubstr("x0"));
  EXPECT_THAT(error_of("model: &anchor\n  params: *anchor\n"), HasSubstr("model.yaml"));
}

}  // namespace
}  // namespace mos::checkpoint
