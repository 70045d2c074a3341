#include "mos/diffusion/vae_tiles.h"

#include <ATen/Functions.h>
#include <gtest/gtest.h>

#include "mos/base/error.h"
#include "mos/diffusion/denoise.h"
#include "mos/diffusion/model.h"
#include "tests/support/tiny_model.h"

namespace mos::diffusion {
namespace {

using torch::Tensor;

TEST(Tiles, OfTheSamePictureAreThatPicture) {
  auto generator = seeded_generator(3);
  const auto maps = randn({2, 3, 37, 50}, generator);
  const auto twice = in_tiles(maps, {16, 4}, [](const Tensor& part) {
    return part.repeat_interleave(2, 2).repeat_interleave(2, 3);
  });
  const auto expected = maps.repeat_interleave(2, 2).repeat_interleave(2, 3);
  EXPECT_LT((twice - expected).abs().max().item<double>(), 1e-5);
}

TEST(Tiles, OfDifferentBrightnessPassIntoEachOtherWithoutAnEdge) {
  double level = 0.0;
  const auto mixed = in_tiles(torch::zeros({1, 1, 16, 60}), {16, 4}, [&](const Tensor& part) {
    level += 1.0;
    return torch::full_like(part, level);
  });
  const auto jumps = (mixed.slice(3, 1) - mixed.slice(3, 0, -1)).abs();
  EXPECT_LE(jumps.max().item<double>(), 1.0 / 4);  // a step of one over an overlap of four
}

class TiledVae : public testing::Test {
 protected:
  torch::NoGradGuard no_grad_;
  Model model_ = tiny::model();
};

TEST_F(TiledVae, ShowsNoSeam) {
  auto generator = seeded_generator(4);
  const auto latents = randn({1, 4, 16, 48}, generator);
  const auto factor = model_.downscale();
  const auto tile = 16 * factor;
  const auto pixels = decode_latents_tiled(model_.vae, latents, tile).to(torch::kFloat32);
  ASSERT_EQ(pixels.size(2), 48 * factor);
  const auto jumps = (pixels.slice(2, 1) - pixels.slice(2, 0, -1)).abs().mean({0, 1, 3});
  // No column stands out: tiles begin at 12 and 24 latents, and elsewhere nothing begins.
  const auto usual = jumps.median().item<double>();
  EXPECT_LT(jumps.max().item<double>(), 3.0 * usual + 1.0);
}

/// A sky that grows lighter downwards, with a sun in it: where people see the edges of tiles.
Tensor sky(std::int64_t height, std::int64_t width) {
  const auto y = torch::linspace(0, 1, height).view({1, 1, -1, 1}).expand({1, 3, height, width});
  const auto light = torch::tensor({0.6, 0.3, 0.1}).view({1, 3, 1, 1});
  auto picture = torch::tensor({-0.3, 0.3, 0.8}).view({1, 3, 1, 1}) + y * light;
  picture.slice(2, 24, 56).slice(3, width / 2, width / 2 + 32).fill_(0.9);
  return picture;
}

/// In the smallest tiles that are taken, on the base model of this repository.
TEST(SmallestTiles, ShowNoLatticeInASky) {
  const torch::NoGradGuard no_grad;
  auto vae = Model::load(MOS_SOURCE_DIR "/base", {.dtype = torch::kFloat32}).vae;
  const auto latents = encode_pictures(vae, sky(192, 320));
  const auto levels = [](const Tensor& pictures) {  // means of 8 x 8 pixels
    return at::avg_pool2d(pictures.permute({0, 3, 1, 2}).to(torch::kFloat32), {8, 8}, {1, 1});
  };
  const auto whole = levels(decode_latents(vae, latents));
  const auto tile = 16 * vae->config().downscale();
  const auto change = levels(decode_latents_tiled(vae, latents, tile)) - whole;
  const auto step = torch::maximum((change.slice(3, 8) - change.slice(3, 0, -8)).abs().max(),
                                   (change.slice(2, 8) - change.slice(2, 0, -8)).abs().max());
  EXPECT_LT(step.item<double>(), 5.0);  // of 255, between neighbours; 9 in tiles of half the size
}

TEST_F(TiledVae, EncodesAsTheWholeDoesInsideATile) {
  auto generator = seeded_generator(5);
  const auto factor = model_.downscale();
  const auto picture = torch::tanh(randn({1, 3, 16 * factor, 32 * factor}, generator));
  const auto tiled = encode_pictures_tiled(model_.vae, picture, 16 * factor);
  const auto whole = encode_pictures(model_.vae, picture);
  EXPECT_EQ(tiled.sizes(), whole.sizes());
  EXPECT_TRUE(torch::equal(encode_pictures_tiled(model_.vae, picture, 32 * factor), whole));
}

TEST_F(TiledVae, RefusesTilesThatAreNone) {
  const auto factor = model_.downscale();
  EXPECT_THROW(check_tile(model_.vae, 15 * factor, 999, 999), Error);
  EXPECT_THROW(check_tile(model_.vae, 16 * factor + 1, 999, 999), Error);
  EXPECT_THROW(check_tile(model_.vae, 64 * factor, 32 * factor, 48 * factor), Error);
  EXPECT_NO_THROW(check_tile(model_.vae, 16 * factor, 16 * factor, 48 * factor));
}

}  // namespace
}  // namespace mos::diffusion
