#include "mos/nn/conditioning.h"

#include <gtest/gtest.h>

#include <array>

#include "mos/base/random.h"
#include "mos/nn/unet.h"
#include "tests/nn/small_unet.h"

namespace {

using mos::nn::Conditioning;
using mos::nn::TextSlices;

Conditioning with_all(std::int64_t batch) {
  Conditioning text(torch::rand({batch, 3, 4}));
  text.pooled = torch::rand({batch, 5});
  text.time_ids = torch::rand({batch, 6});
  return text;
}

TEST(Conditioning, AllOfItIsCutAndJoined) {
  const auto whole = with_all(3);
  const std::array parts = {whole.narrow(0, 1), whole.narrow(1, 2)};
  const auto joined = mos::nn::cat(parts);
  EXPECT_TRUE(joined.context.equal(whole.context));
  EXPECT_TRUE(joined.pooled.equal(whole.pooled));
  EXPECT_TRUE(joined.time_ids.equal(whole.time_ids));
  const auto expanded = whole.narrow(2, 1).expand(4);
  EXPECT_EQ(expanded.size(), 4);
  EXPECT_TRUE(expanded.pooled[3].equal(whole.pooled[2]));
}

TEST(Conditioning, TextAloneStaysTextAlone) {
  const Conditioning text = torch::rand({2, 3, 4});
  EXPECT_FALSE(mos::nn::cat(std::array{text, text}).pooled.defined());
  EXPECT_FALSE(text.to(torch::kFloat64).time_ids.defined());
  EXPECT_TRUE(text.layerwise(5).context.select(1, 4).equal(text.context));
}

class SlicedUNet : public ::testing::Test {
 protected:
  SlicedUNet() {
    unet_ = mos::nn::UNet2DConditionModel(mos::nn::test::small_unet(16));
    for (auto& weight : unet_->parameters()) {
      weight.set_data(0.2 * mos::randn(weight.sizes(), generator_));
    }
  }

  torch::Tensor draw(at::IntArrayRef shape) { return mos::randn(shape, generator_); }

  at::Generator generator_ = mos::seeded_generator(3);
  mos::nn::UNet2DConditionModel unet_{nullptr};
};

TEST_F(SlicedUNet, SeveralLayersMayReadOneOfTheTexts) {
  const torch::NoGradGuard no_grad;
  const auto layers = unet_->cross_attention_count();
  const auto sample = draw({1, 4, 8, 8}), texts = draw({1, 2, 3, 16});
  const auto at = torch::full({1}, 5, torch::kInt64);
  TextSlices halves{.count = 2, .of_layer = {}};
  for (std::int64_t i = 0; i < layers; ++i) halves.of_layer.push_back(2 * i < layers ? 0 : 1);
  const auto places = torch::tensor(halves.of_layer, torch::kInt64);
  const auto expected = unet_(sample, at, texts.index_select(1, places));
  unet_->set_text_slices(halves);
  EXPECT_TRUE(unet_(sample, at, texts).equal(expected));
}

TEST_F(SlicedUNet, WhatItDoesNotReadIsRefused) {
  const auto text = with_all(1);
  const auto at = torch::full({1}, 5, torch::kInt64);
  EXPECT_THROW(unet_(draw({1, 4, 8, 8}), at, text), c10::Error);
}

}  // namespace
