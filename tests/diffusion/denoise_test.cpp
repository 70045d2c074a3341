#include "mos/diffusion/denoise.h"

#include <gtest/gtest.h>

#include "mos/base/error.h"
#include "tests/support/difference.h"
#include "tests/support/tiny_model.h"

namespace mos::diffusion {
using test::difference;

namespace {

class Denoise : public testing::Test {
 protected:
  DenoiseInputs inputs(std::uint64_t seed, std::int64_t pictures) {
    generators_ = picture_generators(seed, pictures);
    return {.unet = model_.unet,
            .scheduler = scheduler_.get(),
            .steps = 4,
            .noise = initial_noise(generators_, latent_shape(model_, 16, 24)),
            .cond = encoded("a cat"),
            .uncond = encoded(""),
            .step_noise = NoiseSource(generators_)};
  }

  nn::Conditioning encoded(const std::string& prompt) const {
    const torch::NoGradGuard no_grad;
    return encode_texts(model_.towers, std::span(&prompt, 1));
  }

  Model model_ = tiny::model();
  std::unique_ptr<Scheduler> scheduler_ = make_scheduler("ddim", model_.settings.scheduler_config);
  std::vector<at::Generator> generators_;
};

TEST_F(Denoise, LatentsHaveTheShapeOfTheNoise) {
  const auto latents = denoise(inputs(1, 2));
  EXPECT_EQ(latents.sizes(), (std::vector<std::int64_t>{2, 4, 8, 12}));
  EXPECT_TRUE(latents.isfinite().all().item<bool>());
}

TEST_F(Denoise, GuidanceOneIsTheConditionalHalfAlone) {
  auto without = inputs(1, 1);
  without.guidance_scale = 1.0;
  std::vector<std::int64_t> batches;
  without.residuals = [&](const NetworkCall& call) {
    const auto& input = call.input;
    batches.push_back(input.size(0));
    return nn::UNetResiduals{};
  };
  const auto plain = denoise(without);
  EXPECT_EQ(batches, std::vector<std::int64_t>(4, 1));
  without.uncond = {};
  EXPECT_TRUE(torch::equal(plain, denoise(without)));

  auto same_texts = inputs(1, 1);
  same_texts.uncond = same_texts.cond;  // guidance between equal texts changes nothing
  EXPECT_LT(difference(plain, denoise(same_texts)), 1e-4);
  EXPECT_GT(difference(plain, denoise(inputs(1, 1))), 1e-3);
}

TEST_F(Denoise, ABatchHoldsThePicturesThatItsSeedsMakeAlone) {
  for (const double eta : {0.0, 1.0}) {
    scheduler_ = make_scheduler("ddim", model_.settings.scheduler_config, {.eta = eta});
    const auto batch = denoise(inputs(40, 3));
    for (std::int64_t i = 0; i < 3; ++i) {
      const auto alone = denoise(inputs(40 + static_cast<std::uint64_t>(i), 1));
      EXPECT_LT(difference(batch.slice(0, i, i + 1), alone), 1e-4) << "picture " << i;
    }
  }
}

TEST_F(Denoise, ALayerwiseTextWithEqualSlicesIsThePlainText) {
  auto layerwise = inputs(1, 1);
  const auto layers = model_.unet->cross_attention_count();
  layerwise.cond = layerwise.cond.layerwise(layers);
  EXPECT_LT(difference(denoise(layerwise), denoise(inputs(1, 1))), 1e-5);
}

TEST_F(Denoise, EveryStepIsReportedAndTheLastOneIsTheResult) {
  std::vector<std::int64_t> steps;
  torch::Tensor last;
  const auto latents = denoise(inputs(1, 1), [&](const DenoiseStep& step) {
    steps.push_back(step.index);
    EXPECT_EQ(step.total, 4);
    last = step.latents;
  });
  EXPECT_EQ(steps, (std::vector<std::int64_t>{0, 1, 2, 3}));
  EXPECT_TRUE(torch::equal(latents, last));
}

TEST_F(Denoise, ACancelledRunStops) {
  CancelToken cancel;
  const auto stop = [&cancel](const DenoiseStep&) { cancel.cancel(); };
  try {
    denoise(inputs(1, 1), stop, &cancel);
    FAIL() << "the run went on";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kCancelled);
  }
}

TEST_F(Denoise, TextsThatDoNotFitTheBatchAreRefused) {
  auto wrong = inputs(1, 3);
  wrong.cond = wrong.cond.expand(2);
  EXPECT_THROW(denoise(wrong), Error);
  auto shorter = inputs(1, 1);
  shorter.uncond.context = shorter.uncond.context.slice(1, 0, 5);
  EXPECT_THROW(denoise(shorter), Error);
}

TEST_F(Denoise, SizesMustBeMultiplesOfTheDownscale) {
  EXPECT_EQ(latent_shape(model_, 16, 24), (std::vector<std::int64_t>{4, 8, 12}));
  EXPECT_THROW(latent_shape(model_, 15, 24), Error);
  EXPECT_THROW(latent_shape(model_, 0, 24), Error);
}

TEST_F(Denoise, PicturesAreDecodedOneByOneToBytes) {
  const auto latents = denoise(inputs(1, 2));
  const auto pictures = decode_latents(model_.vae, latents);
  EXPECT_EQ(pictures.sizes(), (std::vector<std::int64_t>{2, 16, 24, 3}));
  EXPECT_EQ(pictures.scalar_type(), torch::kUInt8);
  EXPECT_TRUE(torch::equal(pictures.slice(0, 1), decode_latents(model_.vae, latents.slice(0, 1))));
}

TEST_F(Denoise, RunsInBfloat16) {
  const auto exact = denoise(inputs(1, 1));
  model_.unet->to(torch::kBFloat16);
  const auto rounded = denoise(inputs(1, 1));
  EXPECT_EQ(rounded.scalar_type(), torch::kFloat32);
  EXPECT_LT(difference(exact, rounded), 0.3 * exact.abs().max().item<double>());
}

}  // namespace
}  // namespace mos::diffusion
