#include "mos/pretrain/latents.h"

#include <gtest/gtest.h>

#include "mos/base/error.h"
#include "mos/base/file.h"
#include "mos/base/random.h"
#include "mos/io/safetensors.h"
#include "mos/pretrain/initialise.h"
#include "mos/pretrain/unet_loss.h"
#include "mos/pretrain/vae_training.h"
#include "tests/support/temp_dir.h"
#include "tests/world/synthetic_sprites.h"

namespace mos::pretrain {
namespace {

using torch::Tensor;
using world::Split;

/// A base's working folder with a tiny world and a VAE that has learned nothing.
class Latents : public testing::Test {
 protected:
  Latents() {
    DataOptions options{.sprites = sprites_.folder().string(), .pictures = 40, .held_out = 10};
    options.world.size = 32;
    Dataset::prepare(base_.path(), options);
    write_vae(1);
  }

  void write_vae(std::uint64_t seed) {
    const auto config = vae_config_json({.latent_channels = 4, .block_out_channels = {8, 8, 8, 8}});
    nn::AutoencoderKL vae(nn::VaeConfig::from_json(config));
    auto generator = seeded_generator(seed);
    initialise_network(*vae, generator);
    std::filesystem::create_directories(base_ / "vae");
    io::save_safetensors(base_ / "vae" / "model.safetensors", io::state_dict_of(*vae));
    write_text_file(base_ / "vae" / "config.json", config.dump());
  }

  LatentStore open() {
    const auto base = base_.path();
    return LatentStore({base, Dataset(base)}, {}, nullptr);
  }

  std::filesystem::path first_file() const {
    return base_ / "data" / "latents" / "canvas0_000000.safetensors";
  }

  world::SyntheticSprites sprites_;
  TempDir base_;
};

TEST_F(Latents, AreTheMeansOfTheEncoder) {
  const auto store = open();
  const Dataset data(base_.path());
  ASSERT_EQ(store.canvases(), data.canvases());
  EXPECT_EQ(store.channels(), 4);
  EXPECT_EQ(store.height(0), 4);
  const torch::NoGradGuard no_grad;
  auto vae = load_vae(base_.path());
  for (std::size_t canvas = 0; canvas < store.canvases(); ++canvas) {
    ASSERT_EQ(store.size(canvas), data.size(Split::kTrain, canvas));
    const auto last = torch::tensor({store.size(canvas) - 1});
    const auto pictures = data.batch(Split::kTrain, last, torch::kBFloat16, canvas);
    const auto expected = vae->encode(pictures).mean.to(torch::kFloat32);
    // One picture alone is not summed in the order of a batch.
    EXPECT_LT((store.batch(last, canvas) - expected).abs().max().item<double>(), 0.05);
  }
}

TEST_F(Latents, AreMadeOnceForAVae) {
  open();
  const auto made = std::filesystem::last_write_time(first_file());
  open();
  EXPECT_EQ(std::filesystem::last_write_time(first_file()), made);
}

TEST_F(Latents, OfAnotherVaeAreMadeAnew) {
  const auto index = torch::tensor({0});
  const auto before = open().batch(index, 0).clone();
  write_vae(2);
  EXPECT_FALSE(torch::allclose(open().batch(index, 0), before));
}

TEST_F(Latents, WithoutAVaeNameTheStageToRun) {
  std::filesystem::remove_all(base_ / "vae");
  try {
    open();
    FAIL() << "accepted";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("mos pretrain vae"), std::string::npos);
  }
}

TEST_F(Latents, EveryCanvasIsShownAsOftenAsThereArePicturesOfIt) {
  const auto store = open();
  const CanvasPlan plan(store, /*batch=*/48, /*multiple=*/2);
  EXPECT_EQ(plan.pictures(0), 48);
  EXPECT_EQ(plan.pictures(2), 24);  // twice as wide
  std::vector<double> shown(store.canvases());
  double all = 0.0, stored = 0.0;
  for (std::int64_t step = 0; step < 6000; ++step) {
    const auto canvas = plan.canvas(/*seed=*/1, step);
    EXPECT_EQ(canvas, plan.canvas(1, step));
    shown[canvas] += static_cast<double>(plan.pictures(canvas));
    all += static_cast<double>(plan.pictures(canvas));
  }
  for (std::size_t i = 0; i < shown.size(); ++i) stored += static_cast<double>(store.size(i));
  for (std::size_t i = 0; i < shown.size(); ++i) {
    EXPECT_NEAR(shown[i] / all, static_cast<double>(store.size(i)) / stored, 0.02) << i;
  }
}

TEST_F(Latents, SquaresGetTheShareOfTheStepsThatIsAskedFor) {
  const auto store = open();
  const auto steps_of = [&store](std::optional<double> squares) {
    const CanvasPlan plan(store, /*batch=*/48, /*multiple=*/2, squares);
    std::vector<double> steps(store.canvases());
    for (std::int64_t step = 0; step < 6000; ++step) steps[plan.canvas(1, step)] += 1.0 / 6000.0;
    return steps;
  };
  const auto usual = steps_of({}), asked = steps_of(0.8);
  EXPECT_NEAR(asked[0], 0.8, 0.02);
  for (std::size_t i = 1; i < asked.size(); ++i) {
    EXPECT_NEAR(asked[i] / 0.2, usual[i] / (1.0 - usual[0]), 0.06) << i;
  }
  EXPECT_NEAR(steps_of(1.0)[0], 1.0, 1e-9);
}

}  // namespace
}  // namespace mos::pretrain
