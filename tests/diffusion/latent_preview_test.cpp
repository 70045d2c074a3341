#include "mos/diffusion/latent_preview.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "mos/base/error.h"
#include "mos/base/file.h"
#include "mos/diffusion/denoise.h"
#include "mos/nn/parameter.h"
#include "tests/support/temp_dir.h"
#include "tests/support/tiny_model.h"

namespace mos::diffusion {
namespace {

TEST(LatentColours, AreNearWhatTheDecoderMakesAndTheSameEveryTime) {
  auto model = tiny::model();
  const auto colours = fit_latent_colours(model.vae);
  EXPECT_EQ(colours.weights.sizes(), (std::vector<std::int64_t>{3, 4}));
  EXPECT_TRUE(torch::equal(fit_latent_colours(model.vae).weights, colours.weights));
  const auto latents = torch::linspace(-1.5, 1.5, 4 * 8 * 8).view({1, 4, 8, 8});
  const auto decoded = decode_latents(model.vae, latents)[0].to(torch::kFloat32);
  const auto exact = decoded.view({8, 2, 8, 2, 3}).mean({1, 3});
  const auto off = (colours.picture(latents).to(torch::kFloat32) - exact).abs().mean();
  const auto grey = (exact - exact.mean()).abs().mean();
  EXPECT_LT(off.item<double>(), 0.6 * grey.item<double>());  // a decoder is not linear
  const auto picture = colours.picture(torch::zeros({1, 4, 6, 9}));
  EXPECT_EQ(picture.sizes(), (std::vector<std::int64_t>{6, 9, 3}));
  EXPECT_EQ(picture.scalar_type(), torch::kUInt8);
}

TEST(LatentColours, MapLatentsStraightToColours) {
  const LatentColours colours{torch::eye(3), torch::zeros({3})};
  auto latents = torch::zeros({3, 1, 2});
  latents[0][0][1] = 1.0;
  latents[1][0][1] = -5.0;
  const auto picture = colours.picture(latents);
  EXPECT_EQ(picture[0][1][0].item<int>(), 255);
  EXPECT_EQ(picture[0][1][1].item<int>(), 0);
  EXPECT_EQ(picture[0][1][2].item<int>(), 128);
}

TEST(LatentColours, AreKeptWithAModelAndReadFromThere) {
  const TempDir folder;
  tiny::model().save(folder / "model");
  const auto file = folder / "model" / "vae" / "latent_colours.json";
  EXPECT_FALSE(std::filesystem::exists(file));
  const LatentColours given{torch::arange(12, torch::kFloat32).view({3, 4}) / 16,
                            torch::tensor({0.5F, 0.25F, -1.0F})};
  write_text_file(file, given.to_json().dump());
  for (const char* place : {"model", "again", "one.safetensors"}) {  // each kind of file keeps it
    const auto model = Model::load(folder / place);
    EXPECT_TRUE(torch::equal(latent_colours_of(model).weights, given.weights)) << place;
    EXPECT_TRUE(torch::equal(latent_colours_of(model).bias, given.bias)) << place;
    const std::string next = place == std::string("model") ? "again" : "one.safetensors";
    if (!std::filesystem::exists(folder / next)) model.save(folder / next);
  }
  write_text_file(file, R"({"weights": [[1, 2, 3]], "bias": [0, 0, 0]})");
  const auto model = Model::load(folder / "model");
  try {
    latent_colours_of(model);
    ADD_FAILURE() << "colours of one channel for a VAE of four";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kFormat);
    EXPECT_THAT(error.what(), testing::HasSubstr("latent_colours.json"));
  }
}

TEST(LatentColours, OfTheUsualVaeAreKnownAndNothingIsDecoded) {
  auto model = tiny::model();
  auto config = tiny::vae_config();
  config["block_out_channels"] = {128, 256, 512, 512};
  config["layers_per_block"] = 2;
  config["norm_num_groups"] = 32;
  config["down_block_types"] = Json(std::vector<std::string>(4, "DownEncoderBlock2D"));
  config["up_block_types"] = Json(std::vector<std::string>(4, "UpDecoderBlock2D"));
  const nn::ShapesOnly no_memory;  // decoding would be impossible
  model.vae = nn::AutoencoderKL(nn::VaeConfig::from_json(config));
  const auto colours = latent_colours_of(model);
  EXPECT_EQ(colours.weights.sizes(), (std::vector<std::int64_t>{3, 4}));
  const auto bright = colours.picture(torch::tensor({3.0F, 0.0F, 0.0F, -2.0F}).view({4, 1, 1}));
  EXPECT_GT(bright.min().item<int>(), 220);  // its first channel is light, its last darkness
}

}  // namespace
}  // namespace mos::diffusion
