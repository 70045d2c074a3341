#include "mos/nn/linear_product.h"

#include <gtest/gtest.h>

#include <cmath>
#include <string>

#include "mos/nn/kernels/cpu_features.h"
#include "mos/nn/ops.h"
#include "tests/nn/compare.h"

// bfloat16 products of rows as each processor computes them: what they give, and to whom gradients
// go.

namespace mos::nn {
namespace {

struct NamedRows {
  std::string name;
  std::vector<std::int64_t> x;
  std::int64_t out;
};

class Bfloat16LinearProduct : public testing::TestWithParam<NamedRows> {
 protected:
  void SetUp() override { at::manual_seed(13); }

  Tensor rows() const { return at::randn(case_.x).to(at::kBFloat16); }
  Tensor weight() const {
    const auto scale = 1.0 / std::sqrt(static_cast<double>(case_.x.back()));
    return (at::randn({case_.out, case_.x.back()}) * scale).to(at::kBFloat16);
  }
  Tensor bias() const { return at::randn({case_.out}).to(at::kBFloat16); }

  const NamedRows& case_ = GetParam();
};

TEST_P(Bfloat16LinearProduct, ValuesAndGradientsMatchFloat64) {
  const auto bias_of = [](const TensorList& in) { return in.size() == 3 ? in[2] : Tensor(); };
  const auto reference = [&](const TensorList& in) {
    return at::linear(in[0], in[1], bias_of(in));
  };
  const auto ours = [&](const TensorList& in) { return linear_product(in[0], in[1], bias_of(in)); };
  expect_same(ours, reference, {rows(), weight(), bias()}, tolerance(at::kBFloat16));
  expect_same(ours, reference, {rows(), weight()}, tolerance(at::kBFloat16));
}

TEST_P(Bfloat16LinearProduct, IsTheFloat32OneRoundedWhereTheProcessorHasNoBfloat16) {
  if (kernels::bfloat16_native()) GTEST_SKIP() << "this processor multiplies bfloat16 itself";
  const auto x = rows(), w = weight(), b = bias();
  const auto wide = [](const Tensor& t) { return t.to(at::kFloat); };
  const auto exact = at::linear(wide(x), wide(w), wide(b));
  // Some rows at a time are summed in another order.
  EXPECT_LT(relative_error(linear_product(x, w, b), exact.to(at::kBFloat16)), 1e-4);
}

TEST_P(Bfloat16LinearProduct, GradientsGoToThoseThatLearnAndAreTheSame) {
  const auto op = [](const TensorList& in) { return linear_product(in[0], in[1], in[2]); };
  expect_gradients_of_those_that_learn(op, {rows(), weight(), bias()});
}

INSTANTIATE_TEST_SUITE_P(Shapes, Bfloat16LinearProduct,
                         testing::Values(NamedRows{"OneRow", {24}, 8},
                                         NamedRows{"Rows", {5, 24}, 8},
                                         NamedRows{"Batch", {2, 7, 32}, 48},
                                         NamedRows{"OddWidths", {2, 3, 5, 7}, 3},
                                         // More than what is in float32 at a time.
                                         NamedRows{"ManyRows", {2, 600, 2048}, 2560}),
                         [](const auto& tested) { return tested.param.name; });

TEST(Bfloat16LinearProduct, StridedRowsAreTakenAsTheyAre) {
  const auto x = at::randn({3, 16, 5}).to(at::kBFloat16).transpose(1, 2);
  const auto weight = at::randn({8, 16}).to(at::kBFloat16);
  const auto strided = linear_product(x, weight), whole = linear_product(x.contiguous(), weight);
  // A processor's own product takes another way through rows that are apart.
  EXPECT_LE(relative_error(strided, whole),
            kernels::bfloat16_native() ? tolerance(at::kBFloat16) : 0.0);
}

TEST(Bfloat16LinearProduct, NoRowsAreNoRows) {
  const auto y =
      linear_product(at::empty({0, 16}, at::kBFloat16), at::ones({8, 16}, at::kBFloat16));
  EXPECT_EQ(y.sizes(), (std::vector<std::int64_t>{0, 8}));
}

TEST(Bfloat16Attention, IsTheFloat32OneRoundedWhereTheProcessorHasNoBfloat16) {
  if (kernels::bfloat16_native()) GTEST_SKIP() << "this processor multiplies bfloat16 itself";
  at::manual_seed(19);
  const auto q = at::randn({2, 3, 40, 16}).to(at::kBFloat16);
  const auto k = at::randn({2, 3, 24, 16}).to(at::kBFloat16), v = at::randn_like(k);
  const auto exact = attention(q.to(at::kFloat), k.to(at::kFloat), v.to(at::kFloat));
  EXPECT_TRUE(at::equal(attention(q, k, v), exact.to(at::kBFloat16)));
}

}  // namespace
}  // namespace mos::nn
