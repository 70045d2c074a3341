#include <gmock/gmock.h>

#include <filesystem>

#include "mos/base/error.h"
#include "mos/base/file.h"
#include "mos/checkpoint/checkpoint.h"
#include "tests/support/temp_dir.h"

namespace mos::checkpoint {
namespace {

namespace fs = std::filesystem;

/// A folder with the entries of a model, and what a pipeline of others may have besides.
class ModelFolder : public testing::Test {
 protected:
  ModelFolder() {
    for (const char* part : {"unet", "vae", "text_encoder", "tokenizer", "scheduler", "upscaler"}) {
      fs::create_directory(folder_ / part);
    }
    write_text_file(folder_ / "model_index.json",
                    R"({"_class_name": "StableDiffusionPipeline", "upscaler": ["a", "b"]})");
  }

  std::string refusal() {
    try {
      check_model_folder(folder_.path());
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::kUsage);
      return error.what();
    }
    return "";
  }

  TempDir folder_;
};

TEST_F(ModelFolder, MayBeReplacedWithAllThatBelongsToIt) {
  write_text_file(folder_ / "new_concept_cfg.json", "{}");
  write_text_file(folder_ / "fusion_report.json", R"({"mixofshow": "0.1.0"})");
  write_text_file(folder_ / "Thumbs.db", "of the system");
  EXPECT_EQ(refusal(), "");
}

TEST_F(ModelFolder, IsKeptForTheSakeOfAnythingElse) {
  write_text_file(folder_ / "package.json", R"({"name": "mine"})");
  EXPECT_THAT(refusal(), testing::HasSubstr("package.json, which is no part of a model"));
  fs::remove(folder_ / "package.json");
  fs::create_directory(folder_ / ".git");
  EXPECT_THAT(refusal(), testing::HasSubstr(".git"));
}

TEST_F(ModelFolder, MayHaveWeightsOfAllKindsInItsParts) {
  for (const char* file :
       {"unet/config.json", "unet/diffusion_pytorch_model.fp16.safetensors",
        "unet/diffusion_pytorch_model-00001-of-00002.safetensors",
        "unet/diffusion_pytorch_model.safetensors.index.json", "vae/diffusion_pytorch_model.bin",
        "text_encoder/model.safetensors", "text_encoder/pytorch_model.bin", "tokenizer/vocab.json",
        "tokenizer/added_tokens.json", "scheduler/scheduler_config.json", "unet/.DS_Store",
        "upscaler/preprocessor_config.json", "vae/latent_colours.json", "sample_defaults.json"}) {
    write_text_file(folder_ / file, "");
  }
  EXPECT_EQ(refusal(), "");
}

TEST_F(ModelFolder, IsKeptForTheSakeOfAnythingElseInItsParts) {
  for (const char* file : {"unet/notes.txt", "upscaler/mine.safetensors", "vae/model.json"}) {
    write_text_file(folder_ / file, "");
    EXPECT_THAT(refusal(), testing::HasSubstr(std::string(file) + ", which is no part"));
    fs::remove(folder_ / file);
  }
  fs::create_directories(folder_ / "unet" / "mine");
  EXPECT_THAT(refusal(), testing::HasSubstr("unet/mine, which"));
  fs::remove(folder_ / "unet" / "mine");
  fs::create_symlink(folder_ / "vae", folder_ / "unet" / "config.json");
  EXPECT_THAT(refusal(), testing::HasSubstr("unet/config.json, which"));
}

TEST_F(ModelFolder, IsOneOnlyWithItsIndex) {
  fs::remove(folder_ / "model_index.json");
  EXPECT_THAT(refusal(), testing::HasSubstr("upscaler"));
  fs::remove(folder_ / "upscaler");
  EXPECT_THAT(refusal(), testing::HasSubstr("lacks model_index.json"));
}

TEST_F(ModelFolder, WithADamagedIndexHasOnlyThePartsThatWeKnow) {
  write_text_file(folder_ / "model_index.json", "{");
  EXPECT_THAT(refusal(), testing::HasSubstr("upscaler"));
}

}  // namespace
}  // namespace mos::checkpoint
