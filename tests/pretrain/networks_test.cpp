#include <gmock/gmock.h>

#include "mos/base/random.h"
#include "mos/io/state_dict.h"
#include "mos/pretrain/initialise.h"
#include "mos/pretrain/tower_training.h"
#include "mos/pretrain/unet_training.h"
#include "mos/pretrain/vae_training.h"

namespace mos::pretrain {
namespace {

using torch::Tensor;

double relative_error(const Tensor& a, const Tensor& b) {
  return ((a - b).norm() / b.norm()).item<double>();
}

nn::AutoencoderKL small_vae() {
  const VaeOptions options{.latent_channels = 4, .block_out_channels = {16, 32}};
  nn::AutoencoderKL vae(nn::VaeConfig::from_json(vae_config_json(options)));
  auto generator = seeded_generator(1);
  initialise_network(*vae, generator);
  return vae;
}

TEST(FoldNormalisation, LatentsAreNormalisedAndPicturesStay) {
  const torch::NoGradGuard no_grad;
  auto vae = small_vae();
  auto generator = seeded_generator(2);
  const auto pictures = mos::randn({2, 3, 16, 16}, generator);
  const auto before = vae->encode(pictures);
  const auto decoded = vae->decode(before.mean);
  const auto mean = torch::tensor({0.3f, -1.0f, 0.0f, 2.0f});
  const auto deviation = torch::tensor({0.5f, 2.0f, 1.0f, 3.0f});
  fold_normalisation(vae, mean, deviation);
  const auto after = vae->encode(pictures);
  const auto shaped = [](const Tensor& t) { return t.view({1, 4, 1, 1}); };
  EXPECT_LT(relative_error(after.mean, (before.mean - shaped(mean)) / shaped(deviation)), 1e-5);
  EXPECT_LT(relative_error(after.std(), before.std() / shaped(deviation)), 1e-5);
  EXPECT_LT(relative_error(vae->decode(after.mean), decoded), 1e-5);
}

TEST(ReconstructionLoss, IsZeroForTheSamePicture) {
  auto generator = seeded_generator(3);
  const auto picture = mos::randn({1, 3, 16, 16}, generator);
  EXPECT_EQ(reconstruction_loss(picture, picture).item<double>(), 0.0);
  EXPECT_GT(reconstruction_loss(picture + 0.1, picture).item<double>(), 0.0);
}

TEST(KlDivergence, IsZeroForTheUnitGaussian) {
  const nn::LatentDistribution unit{torch::zeros({1, 4, 2, 2}), torch::zeros({1, 4, 2, 2})};
  EXPECT_EQ(kl_divergence(unit).item<double>(), 0.0);
  const nn::LatentDistribution moved{torch::ones({1, 4, 2, 2}), torch::zeros({1, 4, 2, 2})};
  EXPECT_NEAR(kl_divergence(moved).item<double>(), 2.0, 1e-6);  // 4 channels · 1/2
}

TEST(Psnr, MatchesItsDefinition) {
  const auto picture = torch::zeros({1, 3, 8, 8});
  EXPECT_NEAR(psnr(picture + 0.2, picture).item<double>(), 20.0, 1e-4);
}

TEST(InitialiseNetwork, EveryBlockStartsAsTheIdentity) {
  const torch::NoGradGuard no_grad;
  const UNetOptions options{
      .block_out_channels = {32, 64}, .heads = {2, 4}, .down_attention = {}, .up_attention = {}};
  nn::UNet2DConditionModel unet(nn::UNetConfig::from_json(unet_config_json(options, 4, 8, 16)));
  auto generator = seeded_generator(4);
  initialise_network(*unet, generator, /*zero_output=*/true);
  const auto x = mos::randn({1, 4, 8, 8}, generator);
  const auto y = unet->forward(x, torch::full({1}, 10, torch::kInt64), torch::zeros({1, 5, 16}));
  EXPECT_EQ(y.abs().max().item<double>(), 0.0);
  for (const auto& item : unet->named_parameters()) {
    EXPECT_TRUE(item.value().isfinite().all().item<bool>()) << item.key();
  }
}

TEST(MinSnrWeights, FollowThePaper) {
  const auto epsilon = diffusion::NoiseSchedule::from_config(scheduler_config_json("epsilon"));
  const auto velocity =
      diffusion::NoiseSchedule::from_config(scheduler_config_json("v_prediction"));
  const auto a = epsilon.alphas_cumprod();
  const auto snr = a / (1.0 - a);
  EXPECT_LT(relative_error(min_snr_weights(epsilon, 5.0),
                           torch::minimum(snr, torch::full_like(snr, 5.0)) / snr),
            1e-6);
  EXPECT_LT(relative_error(min_snr_weights(velocity, 5.0),
                           torch::minimum(snr, torch::full_like(snr, 5.0)) / (snr + 1.0)),
            1e-6);
  EXPECT_TRUE(min_snr_weights(velocity, 0.0).eq(1.0).all().item<bool>());  // no cap, no weights
}

TEST(ContrastiveLoss, PrefersRightPairsAndForgivesEqualCaptions) {
  const auto eye = torch::eye(4);
  const auto none = torch::zeros({4, 4}, torch::kBool);
  const auto no_sides = torch::zeros({4}, torch::kBool);
  const auto scale = torch::tensor(10.0f);
  const auto wrong = -eye;
  const auto right = contrastive_loss(eye, eye, wrong, none, no_sides, scale).item<double>();
  const auto shifted =
      contrastive_loss(eye, eye.roll(1, 0), wrong, none, no_sides, scale).item<double>();
  EXPECT_LT(right, 0.01);
  EXPECT_GT(shifted, 5.0);
  auto twins = eye.clone();
  twins[1] = twins[0];
  auto same = none.clone();
  same[0][1] = same[1][0] = true;
  EXPECT_LT(contrastive_loss(twins, twins, wrong, same, no_sides, scale).item<double>(), 0.01);
  EXPECT_GT(contrastive_loss(twins, twins, wrong, none, no_sides, scale).item<double>(), 0.1);
}

TEST(ContrastiveLoss, PunishesTheExchangedCaption) {
  const auto eye = torch::eye(4);
  const auto none = torch::zeros({4, 4}, torch::kBool);
  const auto no_sides = torch::zeros({4}, torch::kBool);
  const auto scale = torch::tensor(10.0f);
  const auto subject = contrastive_loss(eye, eye, eye, none, no_sides, scale).item<double>();
  EXPECT_GT(subject, 0.3);
  const auto sides = torch::tensor({true, false, false, false});
  EXPECT_NEAR(contrastive_loss(eye, eye, eye, none, sides, scale).item<double>(),
              subject + std::log(2.0), 1e-5);
}

}  // namespace
}  // namespace mos::pretrain
