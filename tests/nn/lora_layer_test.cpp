#include <gtest/gtest.h>

#include "mos/base/error.h"
#include "mos/base/random.h"
#include "mos/nn/linear.h"

namespace {

using mos::nn::Conv2d;
using mos::nn::Conv2dOptions;

constexpr std::int64_t kChannels = 3, kOut = 5, kRank = 2;

/// A convolution with random weights; stride 2 as in a downsampler.
Conv2d random_conv(std::int64_t kernel, std::int64_t stride, at::Generator& generator) {
  Conv2d conv(Conv2dOptions{.in_channels = kChannels,
                            .out_channels = kOut,
                            .kernel_size = kernel,
                            .stride = stride,
                            .padding = kernel / 2});
  const torch::NoGradGuard no_grad;
  conv->weight.copy_(mos::randn(conv->weight.sizes(), generator));
  conv->bias.copy_(mos::randn({kOut}, generator));
  return conv;
}

class LoraConvolution : public testing::TestWithParam<std::pair<std::int64_t, std::int64_t>> {
 protected:
  const torch::NoGradGuard no_grad_;
  at::Generator generator_ = mos::seeded_generator(4);
  const std::int64_t kernel_ = GetParam().first;
  Conv2d conv_ = random_conv(kernel_, GetParam().second, generator_);
  const torch::Tensor x_ = mos::randn({2, kChannels, 7, 6}, generator_);
};

TEST_P(LoraConvolution, AttachedIsWhatMergedIs) {
  const auto down = mos::randn({kRank, kChannels, kernel_, kernel_}, generator_);
  const auto up = mos::randn({kOut, kRank, 1, 1}, generator_);
  conv_->attach_lora(down, up);
  conv_->lora_scale = 0.6;
  const auto attached = conv_(x_);
  conv_->detach_lora();
  conv_->weight += 0.6 * up.flatten(1).matmul(down.flatten(1)).view(conv_->weight.sizes());
  EXPECT_TRUE(torch::allclose(attached, conv_(x_), 1e-4, 1e-4));
}

TEST_P(LoraConvolution, ObservedRowsTimesTheWeightAreTheOutput) {
  torch::Tensor rows;
  conv_->input_observer = [&rows](const torch::Tensor& input) { rows = input; };
  const auto y = conv_(x_).permute({0, 2, 3, 1}).reshape({-1, kOut});
  ASSERT_EQ(rows.size(-1), conv_->in_features());
  const auto product =
      rows.reshape({-1, conv_->in_features()}).matmul(conv_->weight.flatten(1).t());
  EXPECT_TRUE(torch::allclose(product + conv_->bias, y, 1e-4, 1e-4));
}

INSTANTIATE_TEST_SUITE_P(Kernels, LoraConvolution,
                         testing::Values(std::pair(1, 1), std::pair(3, 1), std::pair(3, 2)));

TEST(LoraLayer, RefusesFactorsOfOtherShapes) {
  auto generator = mos::seeded_generator(4);
  auto conv = random_conv(3, 1, generator);
  const auto up = torch::zeros({kOut, kRank, 1, 1});
  EXPECT_THROW(conv->attach_lora(torch::zeros({kRank, kChannels, 1, 1}), up), mos::Error);
  EXPECT_THROW(conv->attach_lora(torch::zeros({kRank, kChannels}), up), mos::Error);
  EXPECT_THROW(
      conv->attach_lora(torch::zeros({kRank, kChannels, 3, 3}), torch::zeros({kOut, kRank, 3, 3})),
      mos::Error);
  EXPECT_FALSE(conv->has_lora());
}

}  // namespace
