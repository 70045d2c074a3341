#include "mos/pretrain/import.h"

#include <gmock/gmock.h>

#include "mos/base/random.h"
#include "mos/pretrain/average.h"
#include "mos/pretrain/export.h"
#include "mos/pretrain/stage.h"
#include "mos/pretrain/tower_training.h"
#include "mos/pretrain/unet_training.h"
#include "mos/pretrain/vae_training.h"
#include "tests/support/errors.h"
#include "tests/support/tiny_judge.h"
#include "tests/world/synthetic_sprites.h"

namespace mos::pretrain {
namespace {

using checkpoint::Part;

/// A folder with a tiny world, and a base of the same world that has been exported.
class Import : public testing::Test {
 protected:
  Import() {
    DataOptions data{.sprites = sprites_.folder().string(), .pictures = 10, .held_out = 10};
    data.world.size = 32;
    Dataset::prepare(base_.path(), data);
    tiny::save_with_judge(exported_);
    tokenizer().save(exported_ / "tokenizer");
    write_json(exported_ / kRecordFile, {{"unet_steps", 7}});
    write_networks();
  }

  text::CLIPTokenizer tokenizer() const {
    return text::CLIPTokenizer::from_directory(base_ / "tokenizer");
  }

  UNetOptions options() const {
    UNetOptions options{.block_out_channels = {32, 32},
                        .heads = {1, 1},
                        .down_attention = {},
                        .up_attention = {},
                        .noises = 1,
                        .start_from = exported_.string()};
    options.train.steps = 1;
    options.train.batch = 4;
    options.train.workers = 1;
    options.train.learning_rate = 0.0;
    return options;
  }

  void import() { import_base(base_.path(), {.from = exported_.string()}); }

  std::filesystem::path weights_of(Part part) const { return exported_ / weights_file(part); }

  world::SyntheticSprites sprites_;
  TempDir base_, folder_;
  const std::filesystem::path exported_ = folder_ / "base";

 private:
  /// A U-Net and a text encoder of the shapes that options() ask for.
  void write_networks() {
    auto text = tiny::text_encoder_config();
    text["vocab_size"] = tokenizer().base_vocab_size();
    text["max_position_embeddings"] = tokenizer().model_max_length();
    nn::CLIPTextModel encoder(nn::ClipTextConfig::from_json(text));
    const auto channels = read_json_file(exported_ / "vae" / "config.json").at("latent_channels");
    nn::UNet2DConditionModel unet(nn::UNetConfig::from_json(unet_config_json(
        options(), channels.get<std::int64_t>(), 4, text.at("hidden_size").get<std::int64_t>())));
    auto generator = seeded_generator(3);
    tiny::fill_randomly(*encoder, generator);
    tiny::fill_randomly(*unet, generator);
    write_json(exported_ / "text_encoder" / "config.json", text);
    io::save_safetensors(weights_of(Part::kTextEncoder), io::state_dict_of(*encoder));
    io::save_safetensors(weights_of(Part::kUNet), io::state_dict_of(*unet));
  }
};

void expect_weights(const torch::nn::Module& module, const std::filesystem::path& file) {
  const auto wanted = io::load_safetensors(file);
  const auto found = io::state_dict_of(module);
  ASSERT_EQ(found.size(), wanted.size());
  for (const auto& [name, tensor] : wanted) {
    EXPECT_TRUE(torch::equal(found.at(name), tensor.to(found.at(name).scalar_type()))) << name;
  }
}

TEST_F(Import, TheVaeAndTheJudgeAreThoseOfTheBase) {
  import();
  expect_weights(*load_vae(base_.path()), weights_of(Part::kVae));
  expect_weights(*load_towers(base_.path(), TowerRole::kJudge),
                 exported_ / kJudgeFolder / "model.safetensors");
  EXPECT_EQ(read_json_file(base_ / kFormerRecordFile).at("unet_steps"), 7);
}

TEST_F(Import, ATrainingStartsFromTheNetworksOfTheBase) {
  import();
  train_unet(base_.path(), options(), {}, nullptr);
  expect_weights(*load_unet(base_.path(), torch::kFloat32), weights_of(Part::kUNet));
  expect_weights(*load_text_tower(base_.path(), torch::kFloat32).encoder,
                 weights_of(Part::kTextEncoder));
}

TEST_F(Import, AnAverageLiesBetweenTheTrainingAndTheBase) {
  import();
  auto trained = options();
  trained.train.learning_rate = 0.01;
  trained.train.warmup = 0;
  train_unet(base_.path(), trained, {}, nullptr);
  const auto weights = [this] {
    auto dict = io::state_dict_of(*load_unet(base_.path(), torch::kFloat32));
    for (const auto& [name, tensor] :
         io::state_dict_of(*load_text_tower(base_.path(), torch::kFloat32).encoder)) {
      dict["text." + name] = tensor;
    }
    return dict;
  };
  const auto end = weights();
  average_with(base_.path(), {.with = exported_.string(), .share = 0.25});
  const auto between = weights();
  average_with(base_.path(), {.with = exported_.string(), .share = 0.0});
  expect_weights(*load_unet(base_.path(), torch::kFloat32), weights_of(Part::kUNet));
  const auto start = weights();
  bool moved = false;
  for (const auto& [name, tensor] : between) {
    const auto wanted = 0.25 * end.at(name) + 0.75 * start.at(name);
    EXPECT_TRUE(torch::allclose(tensor, wanted, 1e-5, 1e-6)) << name;
    moved = moved || !torch::equal(end.at(name), start.at(name));
  }
  EXPECT_TRUE(moved);
  average_with(base_.path(), {.with = exported_.string(), .share = 1.0});
  for (const auto& [name, tensor] : weights()) EXPECT_TRUE(torch::equal(tensor, end.at(name)));
}

TEST_F(Import, AnAverageWithOtherShapesIsNotKept) {
  import();
  train_unet(base_.path(), options(), {}, nullptr);
  io::save_safetensors(weights_of(Part::kUNet), {{"conv_in.weight", torch::zeros({1})}});
  const auto message = test::message_of(ErrorKind::kMismatch, [&] {
    average_with(base_.path(), {.with = exported_.string(), .share = 0.5});
  });
  EXPECT_THAT(message, testing::HasSubstr(weights_of(Part::kUNet).string()));
  EXPECT_EQ(share_of_training(base_.path()), 1.0);
}

TEST_F(Import, AnAverageIsOfTheVeryBaseThatWasNamed) {
  import();
  train_unet(base_.path(), options(), {}, nullptr);
  average_with(base_.path(), {.with = exported_.string(), .share = 0.5});
  auto weights = io::load_safetensors(weights_of(Part::kUNet));
  for (auto& [name, tensor] : weights) tensor = tensor + 1.0;
  io::save_safetensors(weights_of(Part::kUNet), weights);
  const auto message =
      test::message_of(ErrorKind::kMismatch, [&] { load_unet(base_.path(), torch::kFloat32); });
  EXPECT_THAT(message, testing::HasSubstr("has changed since"));
  // It can be taken back without what it was made with.
  std::filesystem::remove_all(exported_);
  average_with(base_.path(), {.share = 1.0});
  load_unet(base_.path(), torch::kFloat32);
}

TEST_F(Import, ATrainingOfOtherWidthsIsRefused) {
  import();
  auto wider = options();
  wider.block_out_channels = {32, 64};
  const auto message =
      test::message_of(ErrorKind::kMismatch, [&] { train_unet(base_.path(), wider, {}, nullptr); });
  EXPECT_THAT(message, testing::HasSubstr(weights_of(Part::kUNet).string()));
}

TEST_F(Import, WhatAStageHasMadeStays) {
  import();
  const auto message = test::message_of(ErrorKind::kUsage, [&] { import(); });
  EXPECT_THAT(message, testing::HasSubstr((base_ / "vae").string()));
}

TEST_F(Import, ABaseOfOtherWordsIsRefused) {
  tiny::tokenizer().save(exported_ / "tokenizer");
  const auto message = test::message_of(ErrorKind::kMismatch, [&] { import(); });
  EXPECT_THAT(message, testing::HasSubstr("mos pretrain data"));
  EXPECT_FALSE(std::filesystem::exists(base_ / "vae"));
}

}  // namespace
}  // namespace mos::pretrain
