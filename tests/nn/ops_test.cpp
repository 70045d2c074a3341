#include "mos/nn/ops.h"

#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include <string>
#include <tuple>
#include <vector>

#include "tests/nn/compare.h"

// Every operator is compared, values and gradients, with ATen's own operator in float64.

namespace mos::nn {
namespace {

constexpr double kEps = 1e-5;

Tensor reference_group_norm(const TensorList& in, int64_t groups, Activation activation) {
  const Tensor y = at::group_norm(in[0], groups, in[1], in[2], kEps);
  return activation == Activation::kSilu ? at::silu(y) : y;
}

// ---- normalisation ------------------------------------------------------------------------------

struct NormCase {
  std::vector<int64_t> shape;
  int64_t groups;
  bool channels_last;
};

class GroupNormValues
    : public testing::TestWithParam<std::tuple<NormCase, at::ScalarType, Activation>> {};

TEST_P(GroupNormValues, ValuesAndGradientsMatchFloat64) {
  const auto& [shape, dtype, activation] = GetParam();
  at::manual_seed(1);
  Tensor x = (at::randn(shape.shape) * 2 + 0.5).to(dtype);
  if (shape.channels_last) x = x.contiguous(at::MemoryFormat::ChannelsLast);
  const Tensor weight = at::randn({shape.shape[1]});
  const Tensor bias = at::randn({shape.shape[1]});
  expect_same(
      [&](const TensorList& in) {
        const Tensor y = group_norm(in[0], shape.groups, in[1], in[2], kEps, activation);
        EXPECT_EQ(y.suggest_memory_format(), x.suggest_memory_format());
        return y;
      },
      [&](const TensorList& in) { return reference_group_norm(in, shape.groups, activation); },
      {x, weight, bias}, tolerance(dtype));
}

INSTANTIATE_TEST_SUITE_P(
    ShapesDtypesAndActivations, GroupNormValues,
    testing::Combine(
        testing::Values(NormCase{{2, 64, 16, 16}, 32, true}, NormCase{{2, 64, 16, 16}, 32, false},
                        NormCase{{1, 96, 37, 41}, 32, true},  // more than one slice
                        NormCase{{3, 30, 5, 7}, 5, true},     // odd vector ends
                        NormCase{{3, 30, 5, 7}, 5, false}, NormCase{{2, 192, 4, 4}, 32, true},
                        NormCase{{2, 8, 1, 1}, 2, true}, NormCase{{2, 40, 19}, 8, false}),
        testing::Values(at::kFloat, at::kBFloat16),
        testing::Values(Activation::kNone, Activation::kSilu)));

TEST(GroupNormTest, LargeMeanDoesNotCancel) {
  // A mean of 100 deviations: sums of squares without a center would keep 3 digits of 7.
  at::manual_seed(2);
  const Tensor x = (at::randn({1, 32, 64, 64}) + 100.0)
                       .to(at::kBFloat16)
                       .contiguous(at::MemoryFormat::ChannelsLast);
  const Tensor weight = at::ones({32});
  const Tensor bias = at::zeros({32});
  const Tensor y = group_norm(x, 8, weight, bias, kEps);
  const Tensor expected =
      at::group_norm(x.to(at::kDouble), 8, weight.to(at::kDouble), bias.to(at::kDouble), kEps);
  EXPECT_LT(relative_error(y, expected), 5e-3);
}

TEST(GroupNormTest, Bfloat16WeightsAreAccepted) {
  const Tensor x = at::randn({2, 16, 8, 8}).to(at::kBFloat16);
  const Tensor weight = at::rand({16}).to(at::kBFloat16);
  const Tensor bias = at::zeros({16}).to(at::kBFloat16);
  expect_same([](const TensorList& in) { return group_norm(in[0], 4, in[1], in[2], kEps); },
              [](const TensorList& in) { return at::group_norm(in[0], 4, in[1], in[2], kEps); },
              {x, weight, bias}, 1e-2);
}

TEST(GroupNormTest, ResultDoesNotDependOnTheNumberOfThreads) {
  const Tensor x =
      at::randn({2, 64, 64, 64}).to(at::kBFloat16).contiguous(at::MemoryFormat::ChannelsLast);
  const Tensor weight = at::rand({64});
  const int before = at::get_num_threads();
  at::set_num_threads(1);
  const Tensor one = group_norm(x, 32, weight, weight, kEps, Activation::kSilu);
  at::set_num_threads(2);
  const Tensor two = group_norm(x, 32, weight, weight, kEps, Activation::kSilu);
  at::set_num_threads(before);
  EXPECT_TRUE(at::equal(one, two));
}

TEST(GroupNormTest, GroupsMustDivideTheChannels) {
  const Tensor x = at::randn({2, 10, 4, 4});
  EXPECT_THROW(group_norm(x, 3, at::ones({10}), at::zeros({10}), kEps), c10::Error);
}

class RowShapes : public testing::TestWithParam<std::tuple<std::vector<int64_t>, at::ScalarType>> {
 protected:
  Tensor input() const {
    const auto& [shape, dtype] = GetParam();
    at::manual_seed(3);
    return (at::randn(shape) * 3 - 0.5).to(dtype);
  }
  double bound() const { return tolerance(std::get<1>(GetParam())); }
};

TEST_P(RowShapes, LayerNormMatchesFloat64) {
  const Tensor x = input();
  const Tensor weight = at::randn({x.size(-1)});
  const Tensor bias = at::randn({x.size(-1)});
  expect_same([](const TensorList& in) { return layer_norm(in[0], in[1], in[2], kEps); },
              [](const TensorList& in) {
                return at::layer_norm(in[0], {in[0].size(-1)}, in[1], in[2], kEps);
              },
              {x, weight, bias}, bound());
}

TEST_P(RowShapes, GegluMatchesFloat64) {
  expect_same([](const TensorList& in) { return geglu(in[0]); },
              [](const TensorList& in) {
                const TensorList half = in[0].chunk(2, -1);
                return half[0] * at::gelu(half[1]);
              },
              {input()}, bound());
}

TEST_P(RowShapes, ActivationsMatchFloat64) {
  const Tensor x = input();
  expect_same([](const TensorList& in) { return nn::silu(in[0]); },
              [](const TensorList& in) { return at::silu(in[0]); }, {x}, bound());
  expect_same([](const TensorList& in) { return nn::gelu(in[0]); },
              [](const TensorList& in) { return at::gelu(in[0]); }, {x}, bound());
  expect_same([](const TensorList& in) { return quick_gelu(in[0]); },
              [](const TensorList& in) { return in[0] * at::sigmoid(in[0] * 1.702); }, {x},
              bound());
}

INSTANTIATE_TEST_SUITE_P(
    ShapesAndDtypes, RowShapes,
    testing::Combine(testing::Values(std::vector<int64_t>{2, 77, 320}, std::vector<int64_t>{3, 34},
                                     std::vector<int64_t>{700, 128}, std::vector<int64_t>{1, 6}),
                     testing::Values(at::kFloat, at::kBFloat16)));

// ---- pointwise ----------------------------------------------------------------------------------

TEST(TakeRows, GivesTheRowsThatAreAskedForAndNoOthers) {
  const auto rows = torch::tensor({4, 0, 4, 2}, torch::kInt64);
  for (const auto dtype : {torch::kFloat32, torch::kBFloat16, torch::kFloat64}) {
    const auto x = torch::arange(2 * 5 * 3).view({2, 3, 5}).to(dtype).transpose(1, 2);
    EXPECT_TRUE(torch::equal(take_rows(x, rows), x.index_select(1, rows)));
  }
  const auto x = torch::ones({2, 5, 3}).requires_grad_();
  take_rows(x, rows).sum().backward();
  EXPECT_TRUE(torch::equal(x.grad()[1].select(1, 0), torch::tensor({1.0, 0.0, 1.0, 0.0, 2.0})));
  const torch::NoGradGuard no_grad;
  EXPECT_EQ(take_rows(x, rows.slice(0, 0, 0)).size(1), 0);
  EXPECT_THROW(take_rows(x, torch::tensor({5}, torch::kInt64)), c10::Error);
  EXPECT_THROW(take_rows(x, torch::tensor({-1}, torch::kInt64)), c10::Error);
}

TEST(WeightedRows, AreSumsOfRows) {
  const auto rows = torch::tensor({4, 0, 4, 2, 1, 0}, torch::kInt64).view({2, 3});
  const auto weights = torch::tensor({1.0, 0.25, 0.5, 0.0, 0.75, 0.0}).view({2, 3});
  const auto values = torch::arange(2 * 5 * 4).view({2, 4, 5}).transpose(1, 2);
  for (const auto dtype : {torch::kFloat32, torch::kBFloat16, torch::kFloat64}) {
    const auto x = values.to(dtype);
    const auto sum = weighted_rows(x, rows, weights);
    EXPECT_TRUE(torch::equal(sum.select(1, 0), x.select(1, 4)));
    EXPECT_TRUE(torch::equal(sum.select(1, 1), 0.25 * x.select(1, 0) + 0.75 * x.select(1, 1)));
    EXPECT_TRUE(torch::equal(sum.select(1, 2), 0.5 * x.select(1, 4)));
  }
  const auto x = values.to(torch::kFloat32).requires_grad_();
  const auto sum = weighted_rows(x, rows, weights);
  sum.sum().backward();
  const auto expected = torch::tensor({0.25, 0.75, 0.0, 0.0, 1.5});
  EXPECT_TRUE(torch::equal(x.grad()[1].select(1, 0), expected));
  const torch::NoGradGuard no_grad;
  EXPECT_TRUE(torch::equal(weighted_rows(x, rows, weights), sum));
  EXPECT_THROW(weighted_rows(x, rows + 1, weights), c10::Error);
}

TEST(ActivationTest, ExtremeInputsGiveFiniteBfloat16) {
  const Tensor x =
      at::tensor({-1e30F, -200.0F, -20.0F, -0.0F, 0.0F, 20.0F, 200.0F, 1e30F}).to(at::kBFloat16);
  const Tensor positive = x.clamp_min(0);
  for (const Tensor& y : {nn::silu(x), nn::gelu(x), quick_gelu(x)}) {
    EXPECT_LT(relative_error(y, positive), 1e-3);
    EXPECT_TRUE(y.isfinite().all().item<bool>());
  }
}

TEST(ActivationTest, NanStaysNan) {
  const Tensor x = at::full({5}, std::nan("")).to(at::kBFloat16);
  EXPECT_TRUE(nn::silu(x).isnan().all().item<bool>());
  EXPECT_TRUE(nn::gelu(x).isnan().all().item<bool>());
}

TEST(ActivationTest, MemoryFormatAndOddStridesAreKept) {
  const Tensor x = at::randn({2, 6, 5, 3}).to(at::kBFloat16);
  const Tensor last = x.contiguous(at::MemoryFormat::ChannelsLast);
  EXPECT_EQ(nn::silu(last).strides(), last.strides());
  EXPECT_TRUE(at::equal(nn::silu(last), nn::silu(x)));
  EXPECT_TRUE(at::equal(nn::silu(x.narrow(1, 1, 3)), nn::silu(x).narrow(1, 1, 3)));
}

TEST(ActivationTest, GradientWithOtherStridesIsAccepted) {
  const Tensor x =
      leaf(at::randn({2, 6, 5, 3}).to(at::kBFloat16).contiguous(at::MemoryFormat::ChannelsLast));
  const Tensor dy = at::randn({2, 6, 5, 3}).to(at::kBFloat16);
  nn::silu(x).backward(dy);
  const Tensor exact = leaf(x.to(at::kDouble));
  at::silu(exact).backward(dy.to(at::kDouble));
  EXPECT_LT(relative_error(x.grad(), exact.grad()), 5e-3);
}

TEST(ActivationTest, EmptyTensorsPassThrough) {
  EXPECT_EQ(nn::silu(at::empty({0, 4}, at::kBFloat16)).numel(), 0);
  EXPECT_EQ(geglu(at::empty({0, 4}, at::kBFloat16)).sizes(), (std::vector<int64_t>{0, 2}));
}

TEST(ActivationTest, HalfPrecisionIsComputedInFloat32) {
  const Tensor x = at::randn({3, 8}).to(at::kHalf);
  EXPECT_LT(relative_error(nn::silu(x), at::silu(x.to(at::kDouble))), 1e-3);
  EXPECT_EQ(geglu(x).scalar_type(), at::kHalf);
}

}  // namespace
}  // namespace mos::nn
