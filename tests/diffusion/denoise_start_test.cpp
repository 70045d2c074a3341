#include <gtest/gtest.h>

#include <span>

#include "mos/base/error.h"
#include "mos/diffusion/denoise.h"
#include "tests/support/difference.h"
#include "tests/support/tiny_model.h"

namespace mos::diffusion {
namespace {

using test::difference;
using torch::Tensor;

class DenoiseStart : public testing::Test {
 protected:
  DenoiseInputs inputs(const std::string& scheduler, std::int64_t steps) {
    auto config = model_.settings.scheduler_config;
    config["skip_prk_steps"] = true;
    scheduler_ = make_scheduler(scheduler, config);
    generators_ = picture_generators(1, 1);
    return {.unet = model_.unet,
            .scheduler = scheduler_.get(),
            .steps = steps,
            .noise = initial_noise(generators_, latent_shape(model_, 16, 16)),
            .cond = encoded("a cat"),
            .uncond = encoded(""),
            .step_noise = NoiseSource(generators_)};
  }
  nn::Conditioning encoded(const std::string& prompt) const {
    const torch::NoGradGuard no_grad;
    return encode_texts(model_.towers, std::span(&prompt, 1));
  }
  Tensor picture() {
    auto generator = seeded_generator(9);
    return randn({1, 4, 8, 8}, generator);
  }
  Model model_ = tiny::model();
  std::unique_ptr<Scheduler> scheduler_;
  std::vector<at::Generator> generators_;
};

TEST_F(DenoiseStart, AStrengthTakesItsShareOfTheStepsWithEveryScheduler) {
  for (const auto& name : scheduler_names()) {
    SCOPED_TRACE(name);
    auto half = inputs(name, 8);
    half.start.latents = picture();
    half.start.strength = 0.5;
    std::vector<DenoiseStep> steps;
    const auto latents = denoise(half, [&](const DenoiseStep& step) { steps.push_back(step); });
    EXPECT_TRUE(latents.isfinite().all().item<bool>());
    const auto starts = scheduler_->step_starts();
    const auto calls = static_cast<std::int64_t>(scheduler_->timesteps().size());
    EXPECT_EQ(static_cast<std::int64_t>(steps.size()), calls - starts[starts.size() / 2]);
    EXPECT_EQ(steps.front().index, 0);
    EXPECT_EQ(steps.front().total, static_cast<std::int64_t>(steps.size()));
  }
}

TEST_F(DenoiseStart, RungeKuttaStepsOfPndmCannotBeginInBetween) {
  auto half = inputs("pndm", 8);
  auto config = model_.settings.scheduler_config;
  config["skip_prk_steps"] = false;
  scheduler_ = make_scheduler("pndm", config);
  half.scheduler = scheduler_.get();
  half.start.latents = picture();
  half.start.strength = 0.5;
  EXPECT_THROW(denoise(half), Error);
}

/// The step of each call of a run with half of 8 steps, or of all of them, and how many are done
/// after it.
TEST_F(DenoiseStart, StepsAreCountedFromTheBeginningOfTheRunAndNotByCalls) {
  using Steps = std::vector<std::int64_t>;
  const auto counted = [this](const std::string& name, double strength) {
    auto part = inputs(name, 8);
    if (strength < 1.0) part.start.latents = picture();
    part.start.strength = strength;
    std::pair<Steps, Steps> steps;
    part.residuals = [&](const NetworkCall& call) {
      steps.first.push_back(call.step);
      return nn::UNetResiduals{};
    };
    denoise(part, [&](const DenoiseStep& step) { steps.second.push_back(step.steps_done); });
    return steps;
  };
  EXPECT_EQ(counted("ddim", 0.5), std::pair(Steps({0, 1, 2, 3}), Steps({1, 2, 3, 4})));
  EXPECT_EQ(counted("heun", 0.5),
            std::pair(Steps({0, 0, 1, 1, 2, 2, 3}), Steps({0, 1, 1, 2, 2, 3, 4})));
  EXPECT_EQ(counted("pndm", 1.0),
            std::pair(Steps({0, 0, 1, 2, 3, 4, 5, 6, 7}), Steps({0, 1, 2, 3, 4, 5, 6, 7, 8})));
}

TEST_F(DenoiseStart, ARungeKuttaStepOfPndmHasFourCalls) {
  auto config = model_.settings.scheduler_config;
  config["skip_prk_steps"] = false;
  const auto pndm = make_scheduler("pndm", config);
  pndm->set_timesteps(8);
  std::vector<std::int64_t> steps;
  for (std::size_t i = 0; i < pndm->timesteps().size(); ++i) {
    steps.push_back(pndm->step_of(static_cast<std::int64_t>(i)));
  }
  EXPECT_EQ(steps, std::vector<std::int64_t>({0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 4, 5, 6, 7}));
}

TEST_F(DenoiseStart, AdaptersSeeTheSampleWithoutWhatAnInpaintingNetworkReadsBeside) {
  auto config = tiny::unet_config();
  config["in_channels"] = 9;
  auto painting = inputs("ddim", 2);
  painting.unet = nn::UNet2DConditionModel(nn::UNetConfig::from_json(config));
  auto generator = seeded_generator(3);
  tiny::fill_randomly(*painting.unet, generator);
  painting.start.beside = torch::zeros({1, 5, 8, 8});
  std::vector<std::int64_t> channels;
  painting.residuals = [&](const NetworkCall& call) {
    channels.push_back(call.input.size(1));
    return nn::UNetResiduals{};
  };
  denoise(painting);
  EXPECT_EQ(channels, std::vector<std::int64_t>({4, 4}));
}

TEST_F(DenoiseStart, AStrengthThatTakesNoStepIsRefused) {
  auto none = inputs("ddim", 4);
  none.start.latents = picture();
  none.start.strength = 0.2;
  EXPECT_THROW(denoise(none), Error);
}

TEST_F(DenoiseStart, WhatTheMaskKeepsIsThePictureToTheBit) {
  for (const char* name : {"ddim", "dpm++", "euler", "heun", "unipc", "dpm2_a"}) {
    auto masked = inputs(name, 4);
    masked.start.latents = picture();
    masked.start.mask = torch::zeros({1, 1, 8, 8});
    masked.start.mask.slice(3, 4).fill_(1.0);
    for (const double strength : {1.0, 0.6}) {
      masked.start.strength = strength;
      const auto latents = denoise(masked);
      EXPECT_TRUE(torch::equal(latents.slice(3, 0, 4), picture().slice(3, 0, 4))) << name;
      EXPECT_GT(difference(latents.slice(3, 4), picture().slice(3, 4)), 1e-2) << name;
    }
  }
}

TEST_F(DenoiseStart, GuidanceBetweenTwoLevelsRunsOneHalfElsewhere) {
  auto limited = inputs("euler", 8);
  const auto sigma = 4.0;
  limited.guidance.sigma_start = sigma;
  limited.guidance.sigma_end = 0.5;
  std::vector<bool> halves;
  limited.residuals = [&](const NetworkCall& call) {
    EXPECT_EQ(call.input.size(0), call.has_both_halves ? 2 : 1);
    EXPECT_EQ(call.text.size(), call.input.size(0));
    halves.push_back(call.has_both_halves);
    return nn::UNetResiduals{};
  };
  denoise(limited);
  ASSERT_EQ(halves.size(), 8U);
  EXPECT_FALSE(halves.front());
  EXPECT_FALSE(halves.back());
  EXPECT_NE(std::find(halves.begin(), halves.end(), true), halves.end());
}

TEST_F(DenoiseStart, RescaledGuidanceChangesThePictureAndNothingOfIsPlain) {
  const auto plain = denoise(inputs("ddim", 3));
  auto rescaled = inputs("ddim", 3);
  rescaled.guidance.rescale = 0.7;
  EXPECT_GT(difference(denoise(rescaled), plain), 1e-3);
  rescaled.guidance.rescale = 0.0;
  EXPECT_TRUE(torch::equal(denoise(inputs("ddim", 3)), plain));
}

TEST_F(DenoiseStart, WhatIsSeenAtTheLastCallIsTheResultOfASamplerThatEndsThere) {
  auto euler = inputs("euler", 4);
  Tensor seen;
  const auto latents = denoise(euler, [&](const DenoiseStep& step) { seen = step.seen(); });
  EXPECT_LT(difference(seen, latents), 1e-3);
}

TEST_F(DenoiseStart, AnInpaintingNetworkWithoutItsMaskIsNamed) {
  auto wrong = inputs("ddim", 2);
  wrong.start.beside = torch::zeros({1, 5, 8, 8});
  EXPECT_THROW(denoise(wrong), Error);
}

}  // namespace
}  // namespace mos::diffusion
