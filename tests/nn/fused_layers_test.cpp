#include <gtest/gtest.h>

#include <tuple>

#include "mos/nn/attention.h"
#include "mos/nn/kernels/cpu_features.h"
#include "mos/nn/linear.h"
#include "tests/nn/compare.h"

// Layers on their fused engine against ATen's operators in float64, values and gradients.

namespace mos::nn {
namespace {

/// Winograd's form rounds what it multiplies once more than a direct convolution.
constexpr double kWinogradBound = 8e-3;

template <class Layer>
void set_parameters(Layer& layer, const Tensor& weight, const Tensor& bias) {
  layer->weight = weight;
  layer->bias = bias;
  layer->engine = Engine::kFused;
}

Tensor image(const std::vector<int64_t>& shape) {
  return at::randn(shape).to(at::kBFloat16).contiguous(at::MemoryFormat::ChannelsLast);
}

struct ConvolutionCase {
  int64_t in, out, height, width, kernel;
};

class FusedConvolution : public testing::TestWithParam<ConvolutionCase> {};

TEST_P(FusedConvolution, ValuesAndGradientsMatchFloat64) {
  const auto& c = GetParam();
  at::manual_seed(3);
  const int64_t padding = c.kernel / 2;
  const auto weight = at::randn({c.out, c.in, c.kernel, c.kernel}) * 0.1;
  expect_same(
      [&](const TensorList& in) {
        Conv2d layer(Conv2dOptions{.in_channels = c.in,
                                   .out_channels = c.out,
                                   .kernel_size = c.kernel,
                                   .padding = padding});
        set_parameters(layer, in[1], in[2]);
        return layer->forward(in[0], {.per_sample = in[3], .residual = in[4]});
      },
      [&](const TensorList& in) {
        return at::conv2d(in[0], in[1], in[2], 1, padding) + in[3].unsqueeze(-1).unsqueeze(-1) +
               in[4];
      },
      {image({3, c.in, c.height, c.width}), weight.to(at::kBFloat16),
       at::randn({c.out}).to(at::kBFloat16), at::randn({3, c.out}).to(at::kBFloat16),
       image({3, c.out, c.height, c.width})},
      kWinogradBound);
}

INSTANTIATE_TEST_SUITE_P(Shapes, FusedConvolution,
                         testing::Values(ConvolutionCase{32, 48, 8, 8, 3},
                                         ConvolutionCase{64, 16, 4, 12, 3},   // several tile rows
                                         ConvolutionCase{16, 32, 5, 7, 3},    // cut tiles
                                         ConvolutionCase{16, 16, 1, 1, 3},    // one cut tile
                                         ConvolutionCase{128, 192, 9, 4, 3},  // several groups
                                         ConvolutionCase{8, 32, 6, 6, 3},     // LibTorch's
                                         ConvolutionCase{48, 32, 5, 3, 1}));

TEST(FusedConvolution, WithoutSummandsAndWithoutBias) {
  at::manual_seed(4);
  expect_same(
      [](const TensorList& in) {
        Conv2d layer(Conv2dOptions{.in_channels = 32, .out_channels = 16, .bias = Bias::kNone});
        layer->weight = in[1];
        layer->engine = Engine::kFused;
        return layer(in[0]);
      },
      [](const TensorList& in) { return at::conv2d(in[0], in[1], {}, 1, 1); },
      {image({2, 32, 6, 8}), (at::randn({16, 32, 3, 3}) * 0.1).to(at::kBFloat16)}, kWinogradBound);
}

TEST(FusedConvolution, ResultsDoNotDependOnTheNumberOfSamples) {
  at::manual_seed(5);
  Conv2d layer(Conv2dOptions{.in_channels = 64, .out_channels = 64});
  set_parameters(layer, (at::randn({64, 64, 3, 3}) * 0.1).to(at::kBFloat16),
                 at::randn({64}).to(at::kBFloat16));
  const auto x = image({5, 64, 16, 16});
  const torch::NoGradGuard no_grad;
  EXPECT_TRUE(at::equal(layer(x).narrow(0, 3, 2), layer(x.narrow(0, 3, 2))));
}

/// LibTorch's own products, which stand in on other processors, sum in bfloat16.
double linear_bound() { return (kernels::avx512_available() ? 1 : 2) * tolerance(at::kBFloat16); }

class FusedLinear : public testing::TestWithParam<std::tuple<int64_t, int64_t, int64_t>> {};

TEST_P(FusedLinear, ValuesAndGradientsMatchFloat64) {
  const auto [rows, in_features, out_features] = GetParam();
  at::manual_seed(6);
  const auto bfloat16 = [](const std::vector<int64_t>& shape) {
    return at::randn(shape).to(at::kBFloat16);
  };
  expect_same(
      [&](const TensorList& in) {
        Linear layer(in_features, out_features);
        set_parameters(layer, in[1], in[2]);
        return layer->forward(in[0], in[3]);
      },
      [](const TensorList& in) { return at::linear(in[0], in[1], in[2]) + in[3]; },
      {bfloat16({2, rows, in_features}), bfloat16({out_features, in_features}),
       bfloat16({out_features}), bfloat16({2, rows, out_features})},
      linear_bound());
}

INSTANTIATE_TEST_SUITE_P(Shapes, FusedLinear,
                         testing::Values(std::tuple{1, 16, 16}, std::tuple{7, 48, 80},
                                         std::tuple{150, 64, 192},  // more than one block of rows
                                         std::tuple{9, 30, 24}));   // LibTorch's

TEST(FusedLinear, AttachedLoraIsNotForgotten) {
  at::manual_seed(7);
  const auto x = at::randn({4, 32}).to(at::kBFloat16);
  Linear layer(32, 16);
  set_parameters(layer, at::randn({16, 32}).to(at::kBFloat16), at::randn({16}).to(at::kBFloat16));
  layer->attach_lora(at::randn({2, 32}), at::randn({16, 2}));
  const auto fused = layer(x);
  layer->engine = Engine::kLibTorch;
  EXPECT_TRUE(at::equal(fused, layer(x)));
}

TEST(CrossAttention, NeighboursShareTheTextThatIsGivenOnce) {
  at::manual_seed(8);
  nn::Attention attention(
      AttentionSize{.query_dim = 32, .heads = 2, .head_dim = 16, .cross_attention_dim = 24});
  for (auto& parameter : attention->parameters()) parameter.data().normal_(0.0, 0.2);
  const auto x = at::randn({6, 5, 32}), text = at::randn({2, 7, 24});
  const auto repeated = attention->forward(x, text.repeat_interleave(3, 0), x);
  EXPECT_LT(relative_error(attention->forward(x, text, x), repeated), 1e-6);
}

}  // namespace
}  // namespace mos::nn
