#include "mos/nn/ops.h"

#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <string>
#include <tuple>
#include <vector>

#include "mos/nn/kernels/cpu_features.h"
#include "mos/nn/kernels/fused_attention.h"

// Every operator is compared, values and gradients, with ATen's own operator in float64.

namespace mos::nn {
namespace {

using torch::Tensor;
using TensorList = std::vector<Tensor>;
using Op = std::function<Tensor(const TensorList&)>;

constexpr double kEps = 1e-5;

double relative_error(const Tensor& actual, const Tensor& expected) {
  const Tensor wide = expected.to(at::kDouble);
  return ((actual.to(at::kDouble) - wide).norm() / (wide.norm() + 1e-12)).item<double>();
}

/// float32 is summed in different orders, bfloat16 results and gradients are rounded to 8 bits, and
/// LibTorch 2's vectorised erf is right to 1.5e-7, which 1 + erf(x) magnifies for x < 0.
double tolerance(at::ScalarType dtype) { return dtype == at::kBFloat16 ? 5e-3 : 2e-5; }

/// A leaf with the strides of `value`.
Tensor leaf(const Tensor& value) { return value.detach().requires_grad_(true); }

/// Values and gradients of `actual` on `inputs` against `reference` on the same numbers in float64.
void expect_same(const Op& actual, const Op& reference, const TensorList& inputs, double bound) {
  at::manual_seed(17);
  TensorList ours;
  TensorList exact;
  for (const Tensor& input : inputs) {
    ours.push_back(leaf(input));
    exact.push_back(leaf(input.to(at::kDouble)));
  }
  const Tensor y = actual(ours);
  const Tensor expected = reference(exact);
  ASSERT_EQ(y.sizes(), expected.sizes());
  EXPECT_EQ(y.scalar_type(), inputs[0].scalar_type());
  EXPECT_LT(relative_error(y, expected), bound) << "value";

  const Tensor dy = at::randn(y.sizes(), y.options().dtype(at::kFloat)).to(y.scalar_type());
  y.backward(dy);
  expected.backward(dy.to(at::kDouble));
  for (size_t i = 0; i < inputs.size(); ++i) {
    ASSERT_TRUE(ours[i].grad().defined()) << "input " << i;
    EXPECT_EQ(ours[i].grad().scalar_type(), inputs[i].scalar_type());
    EXPECT_LT(relative_error(ours[i].grad(), exact[i].grad()), bound) << "gradient of input " << i;
  }
}

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

class GroupNorm : public testing::TestWithParam<std::tuple<NormCase, at::ScalarType, Activation>> {
};

TEST_P(GroupNorm, ValuesAndGradientsMatchFloat64) {
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
    ShapesDtypesAndActivations, GroupNorm,
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

// ---- attention ----------------------------------------------------------------------------------

struct HeadsCase {
  int64_t batch, heads, queries, keys, width;
  bool causal;
};

/// q, k, v as a network makes them: [B,N,H*D] split into heads by a view and a transpose.
TensorList split_heads(const HeadsCase& c, at::ScalarType dtype) {
  at::manual_seed(4);
  TensorList result;
  for (const int64_t length : {c.queries, c.keys, c.keys}) {
    result.push_back(at::randn({c.batch, length, c.heads, c.width}).to(dtype).transpose(1, 2));
  }
  result[0] = result[0] * 1.5;  // some queries look at few keys
  return result;
}

Tensor exact_attention(const Tensor& q, const Tensor& k, const Tensor& v, double scale,
                       bool causal) {
  Tensor scores = at::matmul(q.to(at::kDouble), k.to(at::kDouble).transpose(-2, -1)) * scale;
  if (causal) {
    const Tensor hidden = at::ones({q.size(2), k.size(2)}, at::kBool).triu(1);
    scores = scores.masked_fill(hidden, -1e300);
  }
  return at::matmul(at::softmax(scores, -1), v.to(at::kDouble));
}

double default_scale(const Tensor& q) { return 1.0 / std::sqrt(static_cast<double>(q.size(3))); }

const HeadsCase kHeadsCases[] = {
    {2, 2, 16, 77, 32, false},   {1, 3, 37, 77, 40, false}, {2, 2, 256, 256, 48, false},
    {1, 1, 70, 300, 160, false}, {1, 2, 5, 3, 64, false},   {1, 4, 77, 77, 48, true},
    {2, 1, 200, 200, 8, true},   {1, 1, 40, 170, 20, true}, {1, 1, 9, 33, 512, false}};

class Attention : public testing::TestWithParam<std::tuple<HeadsCase, at::ScalarType>> {};

TEST_P(Attention, ValuesAndGradientsMatchFloat64) {
  const auto& [shape, dtype] = GetParam();
  AttentionOptions options;
  options.causal = shape.causal;
  expect_same([&](const TensorList& in) { return nn::attention(in[0], in[1], in[2], options); },
              [&](const TensorList& in) {
                return exact_attention(in[0], in[1], in[2], default_scale(in[0]), options.causal);
              },
              split_heads(shape, dtype), dtype == at::kBFloat16 ? 1e-2 : 5e-6);
}

INSTANTIATE_TEST_SUITE_P(ShapesAndDtypes, Attention,
                         testing::Combine(testing::ValuesIn(kHeadsCases),
                                          testing::Values(at::kFloat, at::kBFloat16)));

#if defined(__x86_64__)
class AttentionUnits : public testing::TestWithParam<HeadsCase> {
 protected:
  void expect_exact(const kernels::AttentionKernel& kernel) const {
    const TensorList in = split_heads(GetParam(), at::kBFloat16);
    const bool causal = GetParam().causal;
    const double scale = default_scale(in[0]);
    const Tensor y = kernels::fused::attention_forward(kernel, in[0], in[1], in[2], scale, causal);
    EXPECT_LT(relative_error(y, exact_attention(in[0], in[1], in[2], scale, causal)), 5e-3);
  }
};

TEST_P(AttentionUnits, VectorUnitMatchesFloat64) {
  if (!kernels::avx512_available()) GTEST_SKIP() << "no AVX-512 BF16";
  expect_exact(kernels::kAvx512Attention);
}

TEST_P(AttentionUnits, TilesInSoftwareMatchFloat64) {
  if (!kernels::avx512_available()) GTEST_SKIP() << "no AVX-512 BF16";
  expect_exact(kernels::kEmulatedAmxAttention);
}

TEST_P(AttentionUnits, TilesMatchFloat64) {
  if (!kernels::amx_available()) GTEST_SKIP() << "no AMX";
  expect_exact(kernels::kAmxAttention);
}

INSTANTIATE_TEST_SUITE_P(Shapes, AttentionUnits, testing::ValuesIn(kHeadsCases));
#endif

TEST(AttentionTest, AdditiveMaskAndScaleAreHonoured) {
  for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
    const TensorList in = split_heads({2, 3, 20, 30, 16, false}, dtype);
    AttentionOptions options;
    options.scale = 0.5;
    options.mask = at::randn({2, 1, 20, 30}).to(dtype);
    const Tensor scores =
        at::matmul(in[0].to(at::kDouble), in[1].to(at::kDouble).transpose(-2, -1)) * 0.5 +
        options.mask.to(at::kDouble);
    const Tensor expected = at::matmul(at::softmax(scores, -1), in[2].to(at::kDouble));
    EXPECT_LT(relative_error(nn::attention(in[0], in[1], in[2], options), expected),
              dtype == at::kBFloat16 ? 2e-2 : 5e-6);
  }
}

TEST(AttentionTest, ChunksGiveTheSameResultAsOneMatrix) {
  const TensorList in = split_heads({1, 2, 50, 40, 16, false}, at::kFloat);
  AttentionOptions chunked;
  chunked.causal = true;
  AttentionOptions whole = chunked;
  chunked.max_score_bytes = 7 * 2 * 40 * 4;  // 7 queries at a time
  const Tensor expected = nn::attention(in[0], in[1], in[2], whole);
  EXPECT_LT(relative_error(nn::attention(in[0], in[1], in[2], chunked), expected), 1e-6);
  const Tensor trained = leaf(in[0]);  // takes another path: all heads at once
  EXPECT_LT(relative_error(nn::attention(trained, in[1], in[2], chunked), expected), 1e-6);
}

TEST(AttentionTest, LargeScoresDoNotOverflow) {
  TensorList in = split_heads({1, 1, 40, 200, 32, false}, at::kBFloat16);
  in[0] = in[0] * 100;
  const Tensor y = nn::attention(in[0], in[1], in[2]);
  EXPECT_LT(relative_error(y, exact_attention(in[0], in[1], in[2], default_scale(in[0]), false)),
            2e-2);
}

TEST(AttentionTest, JoiningTheHeadsOfBfloat16ResultsIsFree) {
  if (!kernels::avx512_available()) GTEST_SKIP() << "no AVX-512 BF16";
  const TensorList in = split_heads({2, 3, 20, 30, 16, false}, at::kBFloat16);
  EXPECT_TRUE(nn::attention(in[0], in[1], in[2]).transpose(1, 2).is_contiguous());
}

TEST(AttentionTest, DifferentWidthsAreRefused) {
  EXPECT_THROW(
      nn::attention(at::ones({1, 1, 4, 8}), at::ones({1, 1, 4, 6}), at::ones({1, 1, 4, 6})),
      c10::Error);
}

}  // namespace
}  // namespace mos::nn
