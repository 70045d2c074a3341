#include "mos/diffusion/model.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <map>

#include "mos/base/error.h"
#include "mos/diffusion/denoise.h"
#include "mos/io/safetensors.h"
#include "tests/support/temp_dir.h"
#include "tests/support/tiny_model.h"

namespace mos::diffusion {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

std::map<std::string, std::string> files_of(const fs::path& directory) {
  std::map<std::string, std::string> files;
  for (const auto& entry : fs::recursive_directory_iterator(directory)) {
    if (!entry.is_regular_file()) continue;
    files[fs::relative(entry.path(), directory).string()] = read_text_file(entry.path());
  }
  return files;
}

/// A saved tiny model that each test damages in its own way.
class BrokenModel : public testing::Test {
 protected:
  void SetUp() override { tiny::model().save(path()); }
  fs::path path() const { return directory_ / "model"; }

  void change(const std::string& file, const Json& values) const {
    auto json = read_json_file(path() / file);
    json.update(values);
    write_text_file(path() / file, json.dump());
  }

  std::string load_error(ErrorKind kind) const {
    try {
      Model::load(path());
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), kind) << error.what();
      return error.what();
    }
    ADD_FAILURE() << "the model was loaded";
    return "";
  }

 private:
  TempDir directory_;
};

TEST_F(BrokenModel, EveryMissingFileIsNamed) {
  for (const char* part :
       {"model_index.json", "scheduler/scheduler_config.json", "text_encoder/config.json",
        "text_encoder/model.safetensors", "tokenizer", "unet/config.json",
        "unet/diffusion_pytorch_model.safetensors", "vae/config.json",
        "vae/diffusion_pytorch_model.safetensors"}) {
    fs::rename(path() / part, path() / "hidden");
    EXPECT_THAT(load_error(ErrorKind::kIo), HasSubstr(part));
    fs::rename(path() / "hidden", path() / part);
  }
  EXPECT_NO_THROW(Model::load(path()));
}

TEST_F(BrokenModel, AFolderThatIsNotThereIsNamed) {
  fs::remove_all(path());
  EXPECT_THAT(load_error(ErrorKind::kIo), HasSubstr(path().string()));
}

TEST_F(BrokenModel, ImpossibleConfigValuesAreRefusedWithTheirFile) {
  change("unet/config.json", {{"norm_num_groups", 0}});
  EXPECT_THAT(load_error(ErrorKind::kFormat), HasSubstr("unet/config.json"));
}

TEST_F(BrokenModel, AnImpossibleNoiseScheduleIsRefused) {
  change("scheduler/scheduler_config.json", {{"beta_end", -1}});
  EXPECT_THAT(load_error(ErrorKind::kFormat), HasSubstr("scheduler_config.json"));
}

TEST_F(BrokenModel, AnotherKindOfNetworkIsRefused) {
  change("model_index.json", {{"unet", {"diffusers", "SD3Transformer2DModel"}}});
  EXPECT_THAT(load_error(ErrorKind::kFormat), HasSubstr("SD3Transformer2DModel"));
}

TEST_F(BrokenModel, PartsOfDifferentWidthsDoNotFit) {
  change("unet/config.json", {{"cross_attention_dim", 24}});
  EXPECT_THAT(load_error(ErrorKind::kMismatch), HasSubstr("cross_attention_dim"));
}

TEST_F(BrokenModel, WeightsOfAnotherShapeDoNotFit) {
  change("unet/config.json", {{"block_out_channels", {16, 16}}});
  EXPECT_THAT(load_error(ErrorKind::kMismatch), HasSubstr("conv_in.weight"));
}

TEST_F(BrokenModel, ATokenizerWithMoreTokensThanRowsDoesNotFit) {
  change("text_encoder/config.json", {{"vocab_size", 55}});
  EXPECT_THAT(load_error(ErrorKind::kMismatch), HasSubstr("vocab_size"));
}

TEST(Model, LoadingAndSavingIsByteIdentical) {
  const TempDir directory;
  tiny::model().save(directory / "first");
  Model::load(directory / "first").save(directory / "second");
  const auto first = files_of(directory / "first");
  EXPECT_GT(first.size(), 10U);
  EXPECT_EQ(first, files_of(directory / "second"));
}

TEST(Model, ConfigsKeepTheirBytesAndOtherPartsTheirFiles) {
  const TempDir directory;
  const auto source = directory / "source";
  tiny::model().save(source);
  auto index = read_json_file(source / "model_index.json");
  index["safety_checker"] = {"stable_diffusion", "StableDiffusionSafetyChecker"};
  write_text_file(source / "model_index.json", index.dump(7));
  fs::create_directory(source / "safety_checker");
  write_text_file(source / "safety_checker/config.json", "{ }");
  write_text_file(source / "scheduler/scheduler_config.json",
                  R"({"_class_name": "DPMSolverMultistepScheduler",
                      "lambda_min_clipped": -Infinity})");

  Model::load(source).save(directory / "copy");
  EXPECT_EQ(files_of(source), files_of(directory / "copy"));
}

TEST(Model, AChangedConfigIsWritten) {
  const TempDir directory;
  tiny::model().save(directory / "first");
  auto model = Model::load(directory / "first");
  model.settings.scheduler_config["beta_end"] = 0.02;
  model.save(directory / "second");
  EXPECT_EQ(Model::load(directory / "second").settings.scheduler_config.at("beta_end"), 0.02);
}

TEST(Model, SavingReplacesADirectoryOnlyWhenAskedTo) {
  const TempDir directory;
  const auto model = tiny::model();
  model.save(directory / "model");
  EXPECT_THROW(model.save(directory / "model"), Error);
  EXPECT_NO_THROW(model.save(directory / "model", Existing::kReplace));
}

TEST(Model, AttachedLoraIsNotSavedSilently) {
  const TempDir directory;
  auto model = tiny::model();
  nn::for_each_lora_layer(*model.unet, [](const std::string& name, nn::LoraLayer& layer) {
    if (!name.ends_with("attn2.to_q")) return;
    layer.attach_lora(torch::zeros({2, layer.in_features()}),
                      torch::zeros({layer.out_features(), 2}));
  });
  EXPECT_THROW(model.save(directory / "model"), Error);
  EXPECT_FALSE(fs::exists(directory / "model"));
}

TEST(Model, ConceptRowsBecomeTokensOfTheSavedModel) {
  const TempDir directory;
  auto model = tiny::model();
  const auto id = model.towers[0].tokenizer.add_token("<new0>");
  auto generator = seeded_generator(2);
  model.towers[0].encoder->set_concept_rows(randn({1, 16}, generator));
  model.save(directory / "model");

  const auto loaded = Model::load(directory / "model");
  EXPECT_EQ(loaded.tokenizer().token_id("<new0>"), id);
  EXPECT_EQ(loaded.towers[0].encoder->config().vocab_size, 57);
  const torch::NoGradGuard no_grad;
  const std::array prompts = {std::string("a <new0> cat")};
  EXPECT_TRUE(torch::equal(encode_texts(loaded.towers, prompts).context,
                           encode_texts(model.towers, prompts).context));
}

TEST(Model, LoadsInTheAskedForPrecision) {
  const TempDir directory;
  tiny::model().save(directory / "model");
  const auto model = Model::load(directory / "model", {.dtype = torch::kBFloat16});
  EXPECT_EQ(model.dtype(), torch::kBFloat16);
  EXPECT_EQ(model.vae->parameters().front().scalar_type(), torch::kBFloat16);
}

TEST(ModelHash, IsTheSameInEveryPrecisionAndDiffersBetweenModels) {
  const TempDir directory;
  const auto model = tiny::model();
  model.save(directory / "model");
  const auto half = Model::load(directory / "model", {.dtype = torch::kBFloat16});
  EXPECT_EQ(model_hash(model).size(), 64U);
  EXPECT_EQ(model_hash(model), model_hash(half));
  EXPECT_NE(model_hash(model), model_hash(tiny::model(/*seed=*/2)));
}

}  // namespace
}  // namespace mos::diffusion
