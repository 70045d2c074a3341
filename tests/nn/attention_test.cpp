#include <gtest/gtest.h>

#include <cmath>
#include <tuple>
#include <vector>

#include "mos/base/runtime.h"
#include "mos/nn/kernels/cpu_features.h"
#include "mos/nn/kernels/fused_attention.h"
#include "mos/nn/kernels/portable.h"
#include "mos/nn/ops.h"
#include "tests/nn/compare.h"

// Attention on every kernel, values and gradients, against its definition in float64.

namespace mos::nn {
namespace {

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

Tensor exact_attention(const Tensor& q, const Tensor& k, const Tensor& v, double scale, bool causal,
                       const Tensor& mask = {}) {
  Tensor scores = at::matmul(q.to(at::kDouble), k.to(at::kDouble).transpose(-2, -1)) * scale;
  if (mask.defined()) scores = scores + mask.to(at::kDouble);
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

class AttentionValues : public testing::TestWithParam<std::tuple<HeadsCase, at::ScalarType>> {};

TEST_P(AttentionValues, ValuesAndGradientsMatchFloat64) {
  const auto& [shape, dtype] = GetParam();
  AttentionOptions options;
  options.causal = shape.causal;
  expect_same([&](const TensorList& in) { return nn::attention(in[0], in[1], in[2], options); },
              [&](const TensorList& in) {
                return exact_attention(in[0], in[1], in[2], default_scale(in[0]), options.causal);
              },
              split_heads(shape, dtype), dtype == at::kBFloat16 ? 1e-2 : 5e-6);
}

INSTANTIATE_TEST_SUITE_P(ShapesAndDtypes, AttentionValues,
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
    const Tensor expected = exact_attention(in[0], in[1], in[2], 0.5, false, options.mask);
    EXPECT_LT(relative_error(nn::attention(in[0], in[1], in[2], options), expected),
              dtype == at::kBFloat16 ? 2e-2 : 5e-6);
  }
}

// Head by head and a few queries at a time, as large score matrices are taken.
TEST_P(AttentionValues, ChunksMatchFloat64) {
  const auto& [shape, dtype] = GetParam();
  AttentionOptions options;
  options.causal = shape.causal;
  options.mask = at::randn({shape.batch, 1, shape.queries, shape.keys});
  options.max_score_bytes = 7 * shape.keys * 4;
  const double scale = 1 / std::sqrt(static_cast<double>(shape.width));
  expect_same(
      [&](const TensorList& in) {
        return kernels::portable::attention(in[0], in[1], in[2], scale, options);
      },
      [&](const TensorList& in) {
        return exact_attention(in[0], in[1], in[2], scale, shape.causal, options.mask);
      },
      split_heads(shape, dtype), dtype == at::kBFloat16 ? 2e-2 : 5e-6);
}

TEST(AttentionTest, ChunksGiveTheSameResultAsOneMatrix) {
  const TensorList in = split_heads({1, 2, 50, 40, 16, false}, at::kFloat);
  AttentionOptions chunked;
  chunked.causal = true;
  AttentionOptions whole = chunked;
  chunked.max_score_bytes = 7 * 2 * 40 * 4;  // less than the scores of a head
  const Tensor expected = nn::attention(in[0], in[1], in[2], whole);
  EXPECT_LT(relative_error(nn::attention(in[0], in[1], in[2], chunked), expected), 1e-6);
  const Tensor trained = leaf(in[0]);
  EXPECT_LT(relative_error(nn::attention(trained, in[1], in[2], chunked), expected), 1e-6);
}

// A mask that is learnt, such as a relative position bias, is no constant.
TEST(AttentionTest, MaskOfAnySizeHasItsGradient) {
  const TensorList heads = split_heads({1, 2, 50, 40, 16, false}, at::kFloat);
  AttentionOptions options;
  options.max_score_bytes = 7 * 40 * 4;
  expect_same(
      [&](const TensorList& in) {
        options.mask = in[3];
        return nn::attention(in[0], in[1], in[2], options);
      },
      [&](const TensorList& in) {
        return exact_attention(in[0], in[1], in[2], default_scale(in[0]), false, in[3]);
      },
      {heads[0], heads[1], heads[2], at::randn({1, 1, 50, 40})}, 5e-6);
}

// Three layers in a row, whose scores would take 768 MB.
TEST(AttentionTest, TrainingInFloat32KeepsNoScores) {
  constexpr int64_t kScores = 3 * int64_t{4 * 4096 * 4096} * sizeof(float);
  const TensorList in = split_heads({1, 4, 4096, 4096, 8, false}, at::kFloat);
  const PeakMemory peak;
  const int64_t before = peak.bytes();
  const Tensor q = leaf(in[0]);
  Tensor x = q;
  for (int layer = 0; layer < 3; ++layer) x = nn::attention(x, in[1], in[2]);
  x.sum().backward();
  EXPECT_TRUE(q.grad().defined());
  EXPECT_LT(peak.bytes() - before, kScores / 2);  // sanitizers keep what is freed for a while
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
