#include <gtest/gtest.h>

#include <filesystem>

#include "mos/diffusion/denoise.h"
#include "mos/diffusion/model.h"
#include "mos/io/image.h"
#include "mos/io/safetensors.h"
#include "mos/io/state_dict.h"
#include "tests/support/golden.h"
#include "tests/support/temp_dir.h"

namespace mos::diffusion {
namespace {

namespace fs = std::filesystem;

class GoldenPipeline : public testing::Test {
 protected:
  void SetUp() override {
    if (const auto why = golden::missing(golden::model_and()); !why.empty()) GTEST_SKIP() << why;
    directory_ = *golden::find("tiny_sd");
    model_ = Model::load(directory_);
  }

  fs::path directory_;
  Model model_;
  torch::NoGradGuard no_grad_;
};

TEST_F(GoldenPipeline, SavedModelHoldsTheSameTensorsAndConfigs) {
  const TempDir directory;
  model_.save(directory / "copy");
  for (const char* file :
       {"text_encoder/model.safetensors", "vae/diffusion_pytorch_model.safetensors",
        "unet/diffusion_pytorch_model.safetensors"}) {
    const io::SafetensorsFile original(directory_ / file);
    for (const auto& [name, tensor] : io::load_safetensors(directory / "copy" / file)) {
      EXPECT_TRUE(torch::equal(tensor, original.get(name))) << file << " " << name;
    }
  }
  for (const char* file : {"model_index.json", "scheduler/scheduler_config.json",
                           "text_encoder/config.json", "unet/config.json", "vae/config.json"}) {
    EXPECT_EQ(read_text_file(directory_ / file), read_text_file(directory / "copy" / file)) << file;
  }
  EXPECT_EQ(model_hash(model_), model_hash(Model::load(directory / "copy")));
}

TEST_F(GoldenPipeline, AVaeWithTheOldAttentionNamesIsTheSameVae) {
  const auto old_names = golden::find("vae_deprecated_keys.safetensors");
  if (!old_names) GTEST_SKIP() << "not there: vae_deprecated_keys.safetensors";
  const TempDir directory;
  fs::copy(directory_, directory / "model", fs::copy_options::recursive);
  fs::copy_file(*old_names, directory / "model/vae/diffusion_pytorch_model.safetensors",
                fs::copy_options::overwrite_existing);
  EXPECT_EQ(model_hash(Model::load(directory / "model")), model_hash(model_));
}

TEST_F(GoldenPipeline, TextStatesAreTheReferenceOnes) {
  const auto file = golden::find("text_encoder.safetensors");
  if (!file) GTEST_SKIP() << "not there: text_encoder.safetensors";
  const io::SafetensorsFile expected(*file);
  const auto actual = model_.towers[0].encode(expected.get("input_ids")).context;
  EXPECT_LE(golden::max_abs_difference(actual, expected.get("last_hidden_state")),
            golden::tolerance("text_encoder.last_hidden_state"));
}

TEST_F(GoldenPipeline, PicturesBecomeTheReferenceLatentsAndBack) {
  const auto file = golden::find("vae.safetensors");
  if (!file) GTEST_SKIP() << "not there: vae.safetensors";
  const io::SafetensorsFile expected(*file);
  const auto latents = encode_pictures(model_.vae, expected.get("image"));
  EXPECT_LE(golden::max_abs_difference(latents, expected.get("mode_scaled")),
            golden::tolerance("vae.moments"));

  const auto scaled = expected.get("decode_in") * model_.vae->config().scaling_factor;
  const auto pictures = decode_latents(model_.vae, scaled).to(torch::kInt32);
  const auto reference = expected.get("decode_out");
  for (std::int64_t i = 0; i < reference.size(0); ++i) {
    const auto bytes = io::to_uint8_hwc(reference[i]).to(torch::kInt32);
    EXPECT_LE((pictures[i] - bytes).abs().max().item<int>(), 1);  // a value next to a half
  }
}

}  // namespace
}  // namespace mos::diffusion
