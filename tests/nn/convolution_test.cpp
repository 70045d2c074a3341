#include "mos/nn/convolution.h"

#include <gtest/gtest.h>

#include <cmath>
#include <string>

#include "mos/base/runtime.h"
#include "mos/nn/kernels/cpu_features.h"
#include "mos/nn/linear.h"
#include "mos/nn/ops.h"
#include "tests/nn/compare.h"

// bfloat16 convolutions as each processor computes them: what they give, to whom gradients go, and
// how much memory pictures take.

namespace mos::nn {
namespace {

struct NamedConvolution {
  std::string name;
  std::int64_t in, out, kernel, stride, padding;
  at::MemoryFormat format;
};

class Bfloat16Convolution : public testing::TestWithParam<NamedConvolution> {
 protected:
  void SetUp() override { at::manual_seed(11); }

  Tensor picture() const {
    return at::randn({2, case_.in, 9, 12}).to(at::kBFloat16).contiguous(case_.format);
  }
  Tensor weight() const {
    const auto scale = 1.0 / std::sqrt(static_cast<double>(case_.in * case_.kernel * case_.kernel));
    const auto weight = at::randn({case_.out, case_.in, case_.kernel, case_.kernel}) * scale;
    return weight.to(at::kBFloat16);
  }
  Tensor bias() const { return at::randn({case_.out}).to(at::kBFloat16); }
  Tensor of(const Tensor& x, const Tensor& weight, const Tensor& bias) const {
    return convolution(x, weight, bias, case_.stride, case_.padding);
  }

  const NamedConvolution& case_ = GetParam();
};

TEST_P(Bfloat16Convolution, ValuesAndGradientsMatchFloat64) {
  const auto reference = [this](const TensorList& in) {
    const auto bias = in.size() == 3 ? in[2] : Tensor();
    return at::conv2d(in[0], in[1], bias, case_.stride, case_.padding);
  };
  const auto ours = [this](const TensorList& in) {
    return of(in[0], in[1], in.size() == 3 ? in[2] : Tensor());
  };
  expect_same(ours, reference, {picture(), weight(), bias()}, tolerance(at::kBFloat16));
  expect_same(ours, reference, {picture(), weight()}, tolerance(at::kBFloat16));
}

TEST_P(Bfloat16Convolution, IsTheFloat32OneRoundedWhereTheProcessorHasNoBfloat16) {
  if (kernels::bfloat16_native()) GTEST_SKIP() << "this processor multiplies bfloat16 itself";
  const auto x = leaf(picture()), w = leaf(weight()), b = leaf(bias());
  const auto wide = [](const Tensor& t) { return leaf(t.detach().to(at::kFloat)); };
  const auto wide_x = wide(x), wide_w = wide(w), wide_b = wide(b);
  const auto y = of(x, w, b);
  const auto exact = of(wide_x, wide_w, wide_b);
  EXPECT_TRUE(at::equal(y, exact.to(at::kBFloat16)));
  EXPECT_EQ(y.suggest_memory_format(), exact.suggest_memory_format());
  const auto dy = at::randn(y.sizes()).to(at::kBFloat16);
  y.backward(dy);
  exact.backward(dy.to(at::kFloat));
  EXPECT_LT(relative_error(x.grad(), wide_x.grad()), tolerance(at::kBFloat16));
  EXPECT_LT(relative_error(w.grad(), wide_w.grad()), tolerance(at::kBFloat16));
  EXPECT_LT(relative_error(b.grad(), wide_b.grad()), tolerance(at::kBFloat16));
}

TEST_P(Bfloat16Convolution, GradientsGoToThoseThatLearnAndAreTheSame) {
  const auto op = [this](const TensorList& in) { return of(in[0], in[1], in[2]); };
  expect_gradients_of_those_that_learn(op, {picture(), weight(), bias()});
}

TEST_P(Bfloat16Convolution, LayersWithFloat32WeightsHaveFloat32Gradients) {
  Conv2d layer(Conv2dOptions{.in_channels = case_.in,
                             .out_channels = case_.out,
                             .kernel_size = case_.kernel,
                             .stride = case_.stride,
                             .padding = case_.padding});
  {
    const torch::NoGradGuard no_grad;
    layer->weight.copy_(weight());
    layer->bias.copy_(bias());
  }
  const auto x = picture();
  const auto y = layer(x);
  EXPECT_EQ(y.scalar_type(), at::kBFloat16);
  EXPECT_TRUE(at::equal(y, of(x, layer->weight.to(at::kBFloat16), layer->bias.to(at::kBFloat16))));
  y.sum().backward();
  EXPECT_EQ(layer->weight.grad().scalar_type(), at::kFloat);
  EXPECT_EQ(layer->bias.grad().scalar_type(), at::kFloat);
}

INSTANTIATE_TEST_SUITE_P(
    Shapes, Bfloat16Convolution,
    testing::Values(NamedConvolution{"Plain", 16, 24, 3, 1, 1, at::MemoryFormat::ChannelsLast},
                    NamedConvolution{"Contiguous", 16, 24, 3, 1, 1, at::MemoryFormat::Contiguous},
                    NamedConvolution{"Halving", 8, 16, 3, 2, 1, at::MemoryFormat::ChannelsLast},
                    NamedConvolution{"HalvingWithoutBorder", 8, 16, 3, 2, 0,
                                     at::MemoryFormat::ChannelsLast},
                    NamedConvolution{"OnePoint", 24, 8, 1, 1, 0, at::MemoryFormat::ChannelsLast},
                    NamedConvolution{"OddChannels", 3, 5, 3, 1, 1, at::MemoryFormat::ChannelsLast},
                    NamedConvolution{"Patches", 3, 32, 4, 4, 0, at::MemoryFormat::Contiguous}),
    [](const auto& tested) { return tested.param.name; });

/// Memory that `work` takes beside what there was, in bytes of `unit`.
double peak_in(const Tensor& unit, const std::function<Tensor()>& work) {
  const torch::NoGradGuard no_grad;
  work();  // what libraries keep, and generated code
  const PeakMemory peak;
  const auto before = peak.bytes();
  work();
  return static_cast<double>(peak.bytes() - before) / static_cast<double>(unit.nbytes());
}

/// Features of a picture, large enough for malloc to give them back.
Tensor large_picture() {
  return at::ones({1, 64, 512, 512}, at::kBFloat16).contiguous(at::MemoryFormat::ChannelsLast);
}

TEST(Bfloat16Memory, ConvolutionsDoNotUnfoldPictures) {
  const auto x = large_picture(), weight = at::ones({64, 64, 3, 3}, at::kBFloat16);
  // Unfolded they are nine; in float32 input and output are four, the result is one more.
  EXPECT_LT(peak_in(x, [&] { return convolution(x, weight, {}, 1, 1); }), 7.0);
}

TEST(Bfloat16Memory, NormsHoldTwoFloat32CopiesOfPicturesAtMost) {
  const auto x = large_picture(), weight = at::ones({64}), bias = at::zeros({64});
  EXPECT_LT(peak_in(x, [&] { return group_norm(x, 32, weight, bias, 1e-6, Activation::kSilu); }),
            5.5);
}

}  // namespace
}  // namespace mos::nn
