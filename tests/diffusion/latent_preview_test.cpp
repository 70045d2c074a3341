#include "mos/diffusion/latent_preview.h"

#include <gtest/gtest.h>

#include "tests/support/tiny_model.h"

namespace mos::diffusion {
namespace {

TEST(LatentColours, AreNearWhatTheDecoderMakesAndTheSameEveryTime) {
  auto model = tiny::model();
  const auto colours = fit_latent_colours(model.vae);
  EXPECT_EQ(colours.weights.sizes(), (std::vector<std::int64_t>{3, 4}));
  EXPECT_TRUE(torch::equal(fit_latent_colours(model.vae).weights, colours.weights));
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

}  // namespace
}  // namespace mos::diffusion
