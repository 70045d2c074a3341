#include "mos/concepts/layer_update.h"

#include <gmock/gmock.h>

#include "mos/base/error.h"
#include "mos/base/random.h"

namespace {

using mos::concepts::Dense;
using mos::concepts::DenseForm;
using mos::concepts::LayerUpdate;
using mos::concepts::LoraPart;
using mos::concepts::LowRank;
using torch::Tensor;

constexpr std::int64_t kOut = 6, kChannels = 4, kSide = 3, kRank = 2;
constexpr auto kIn = kChannels * kSide * kSide;

/// Updates of a 3×3 convolution, whose ΔW the tests compute number by number.
class LayerUpdates : public testing::Test {
 protected:
  Tensor random(at::IntArrayRef shape) { return mos::randn(shape, generator_); }
  static double at(const Tensor& tensor, std::initializer_list<std::int64_t> place) {
    auto value = tensor;
    for (const auto i : place) value = value[i];
    return value.item<double>();
  }

  /// `update` against numbers: expected(o, c, y, x).
  void expect_difference(const LayerUpdate& update,
                         const std::function<double(int, int, int, int)>& expected) const {
    ASSERT_TRUE(update.fits(weight_.sizes()));
    const auto difference = update.difference(weight_);
    ASSERT_EQ(difference.sizes(), weight_.sizes());
    EXPECT_EQ(difference.scalar_type(), torch::kFloat32);
    for (int o = 0; o < kOut; ++o) {
      for (int c = 0; c < kChannels; ++c) {
        for (int y = 0; y < kSide; ++y) {
          for (int x = 0; x < kSide; ++x) {
            const double wanted = expected(o, c, y, x);
            EXPECT_NEAR(at(difference, {o, c, y, x}), wanted, 1e-6 * (1.0 + std::abs(wanted)));
          }
        }
      }
    }
  }

  /// Column of a flat kernel.
  static std::int64_t column(int c, int y, int x) { return (c * kSide + y) * kSide + x; }

  at::Generator generator_ = mos::seeded_generator(3);
  Tensor weight_ = mos::randn({kOut, kChannels, kSide, kSide}, generator_);
};

TEST_F(LayerUpdates, APairIsItsProduct) {
  const LowRank pair{random({kRank, kChannels, kSide, kSide}), random({kOut, kRank, 1, 1}), 0.5};
  expect_difference(pair, [&](int o, int c, int y, int x) {
    double sum = 0.0;
    for (int r = 0; r < kRank; ++r) sum += at(pair.up, {o, r, 0, 0}) * at(pair.down, {r, c, y, x});
    return 0.5 * sum;
  });
}

/// Σ_ij core[i,j,y,x] a[i,o] b[j,c]: LyCORIS' rebuild_tucker.
double tucker(const Tensor& core, const Tensor& a, const Tensor& b, std::array<int, 4> place) {
  const auto [o, c, y, x] = place;
  double sum = 0.0;
  for (int i = 0; i < core.size(0); ++i) {
    for (int j = 0; j < core.size(1); ++j) {
      sum += core[i][j][y][x].item<double>() * a[i][o].item<double>() * b[j][c].item<double>();
    }
  }
  return sum;
}

double dot(const Tensor& a, std::int64_t row, const Tensor& b, std::int64_t column) {
  double sum = 0.0;
  for (int r = 0; r < b.size(0); ++r) {
    sum += a[row][r].item<double>() * b[r][column].item<double>();
  }
  return sum;
}

TEST_F(LayerUpdates, ATuckerDecompositionIsThreeConvolutionsInARow) {
  const auto down = random({kRank, kChannels, 1, 1}), mid = random({kRank, kRank, kSide, kSide});
  const auto up = random({kOut, kRank, 1, 1});
  const LayerUpdate update(
      Dense{.form = DenseForm::kProduct,
            .parts = {{LoraPart::kDown, down}, {LoraPart::kMid, mid}, {LoraPart::kUp, up}},
            .scale = 0.25});
  const auto by_hand = [&](int o, int c, int y, int x) {
    return 0.25 * tucker(mid, up.flatten(1).t(), down.flatten(1), {o, c, y, x});
  };
  expect_difference(update, by_hand);
  expect_difference(update.factored(weight_), by_hand);
}

TEST_F(LayerUpdates, LohaIsTheProductOfTwoProductsNumberByNumber) {
  const auto a1 = random({kOut, kRank}), b1 = random({kRank, kIn});
  const auto a2 = random({kOut, kRank}), b2 = random({kRank, kIn});
  const LayerUpdate update(Dense{.form = DenseForm::kHadamard,
                                 .parts = {{LoraPart::kHadamard1A, a1},
                                           {LoraPart::kHadamard1B, b1},
                                           {LoraPart::kHadamard2A, a2},
                                           {LoraPart::kHadamard2B, b2}},
                                 .scale = 0.5});
  const auto by_hand = [&](int o, int c, int y, int x) {
    return 0.5 * dot(a1, o, b1, column(c, y, x)) * dot(a2, o, b2, column(c, y, x));
  };
  expect_difference(update, by_hand);
  const auto pair = update.factored(weight_);
  EXPECT_EQ(pair.rank(), kRank * kRank);  // rank r² at most
  expect_difference(pair, by_hand);
}

TEST_F(LayerUpdates, LohaOfAConvolutionMayHaveTuckerCores) {
  const auto t1 = random({kRank, kRank, kSide, kSide}), t2 = random({kRank, kRank, kSide, kSide});
  const auto a1 = random({kRank, kOut}), b1 = random({kRank, kChannels});
  const auto a2 = random({kRank, kOut}), b2 = random({kRank, kChannels});
  const LayerUpdate update(Dense{.form = DenseForm::kHadamard,
                                 .parts = {{LoraPart::kHadamard1A, a1},
                                           {LoraPart::kHadamard1B, b1},
                                           {LoraPart::kHadamardT1, t1},
                                           {LoraPart::kHadamard2A, a2},
                                           {LoraPart::kHadamard2B, b2},
                                           {LoraPart::kHadamardT2, t2}}});
  expect_difference(update, [&](int o, int c, int y, int x) {
    return tucker(t1, a1, b1, {o, c, y, x}) * tucker(t2, a2, b2, {o, c, y, x});
  });
}

/// w1 ⊗ w2 for w1 [2,2] and w2 [kOut/2, kChannels/2, k, k].
double kronecker(const Tensor& w1, const std::function<double(std::array<int, 4>)>& w2,
                 std::array<int, 4> place) {
  const auto [o, c, y, x] = place;
  constexpr int kRows = kOut / 2, kColumns = kChannels / 2;
  return w1[o / kRows][c / kColumns].item<double>() * w2({o % kRows, c % kColumns, y, x});
}

TEST_F(LayerUpdates, LokrIsAKroneckerProductOfWholeMatrices) {
  const auto w1 = random({2, 2}), w2 = random({kOut / 2, kChannels / 2, kSide, kSide});
  const LayerUpdate update(
      Dense{.form = DenseForm::kKronecker,
            .parts = {{LoraPart::kKronecker1, w1}, {LoraPart::kKronecker2, w2}}});
  expect_difference(update, [&](int o, int c, int y, int x) {
    const auto second = [&](std::array<int, 4> p) { return at(w2, {p[0], p[1], p[2], p[3]}); };
    return kronecker(w1, second, {o, c, y, x});
  });
}

TEST_F(LayerUpdates, LokrMayHaveEitherMatrixInFactorsOrInATuckerCore) {
  const auto a1 = random({2, kRank}), b1 = random({kRank, 2});
  const auto a2 = random({kOut / 2, kRank}), b2 = random({kRank, kIn / 2});
  const auto w1 = a1.to(torch::kFloat64).matmul(b1.to(torch::kFloat64));
  const LayerUpdate factored(Dense{.form = DenseForm::kKronecker,
                                   .parts = {{LoraPart::kKronecker1A, a1},
                                             {LoraPart::kKronecker1B, b1},
                                             {LoraPart::kKronecker2A, a2},
                                             {LoraPart::kKronecker2B, b2}},
                                   .scale = 0.5});
  expect_difference(factored, [&](int o, int c, int y, int x) {
    const auto second = [&](std::array<int, 4> p) {
      return dot(a2, p[0], b2, column(p[1], p[2], p[3]));
    };
    return 0.5 * kronecker(w1, second, {o, c, y, x});
  });

  const auto core = random({kRank, kRank, kSide, kSide});
  const auto a = random({kRank, kOut / 2}), b = random({kRank, kChannels / 2});
  const LayerUpdate with_core(Dense{.form = DenseForm::kKronecker,
                                    .parts = {{LoraPart::kKronecker1A, a1},
                                              {LoraPart::kKronecker1B, b1},
                                              {LoraPart::kKronecker2A, a},
                                              {LoraPart::kKronecker2B, b},
                                              {LoraPart::kKroneckerT2, core}}});
  expect_difference(with_core, [&](int o, int c, int y, int x) {
    const auto second = [&](std::array<int, 4> p) { return tucker(core, a, b, p); };
    return kronecker(w1, second, {o, c, y, x});
  });
}

TEST_F(LayerUpdates, AFullDifferenceIsItself) {
  const auto difference = random(weight_.sizes()), bias = random({kOut});
  const LayerUpdate update(
      Dense{.parts = {{LoraPart::kDifference, difference}, {LoraPart::kBiasDifference, bias}}});
  EXPECT_TRUE(update.fits(weight_.sizes()));
  EXPECT_TRUE(update.difference(weight_).equal(difference));
  EXPECT_TRUE(update.apply_to(weight_, 2.0).equal(weight_ + 2.0 * difference));
  EXPECT_TRUE(update.bias_difference().equal(bias));
  const LayerUpdate bias_alone(Dense{.parts = {{LoraPart::kBiasDifference, bias}}});
  EXPECT_TRUE(bias_alone.fits(weight_.sizes()));
  EXPECT_EQ(bias_alone.difference(weight_).abs().sum().item<float>(), 0.0F);
}

/// (W + V) · magnitude / ‖W + V‖ − W, the norm over what belongs to one output or input channel.
TEST_F(LayerUpdates, DoraGivesOutputsOrInputChannelsTheNormsOfTheFile) {
  const LowRank pair{random({kRank, kChannels, kSide, kSide}), random({kOut, kRank, 1, 1}), 0.5};
  const auto v = lora_update(pair);
  const auto norm = [&](int dim, int index) {
    return (weight_ + v).select(dim, index).to(torch::kFloat64).norm().item<double>();
  };
  for (const int dim : {0, 1}) {
    std::vector<std::int64_t> shape(4, 1);
    shape[static_cast<std::size_t>(dim)] = weight_.size(dim);
    const auto magnitude = random(shape).abs();
    const LayerUpdate update(Dense{.form = DenseForm::kProduct,
                                   .parts = {{LoraPart::kDown, pair.down},
                                             {LoraPart::kUp, pair.up},
                                             {LoraPart::kMagnitude, magnitude}},
                                   .scale = pair.scale});
    expect_difference(update, [&](int o, int c, int y, int x) {
      const int index = dim == 0 ? o : c;
      const double before = at(weight_, {o, c, y, x});
      return (before + at(v, {o, c, y, x})) * at(magnitude.flatten(), {index}) / norm(dim, index) -
             before;
    });
  }
}

TEST_F(LayerUpdates, AnUpdateOfTheSameNormsIsTheOneWithoutDora) {
  const auto v = random(weight_.sizes());
  const auto norms = (weight_ + v).flatten(1).norm(2, 1);
  const LayerUpdate update(
      Dense{.parts = {{LoraPart::kDifference, v}, {LoraPart::kMagnitude, norms}}});
  EXPECT_TRUE(torch::allclose(update.difference(weight_), v, 1e-5, 1e-5));
}

TEST_F(LayerUpdates, OfLowerRankItIsTheNearestAndSaysHowFarThatIs) {
  const LayerUpdate update(Dense{.parts = {{LoraPart::kDifference, random(weight_.sizes())}}});
  const auto exact = update.difference(weight_).to(torch::kFloat64);
  const auto values =
      std::get<1>(torch::linalg_svd(exact.flatten(1), /*full_matrices=*/false)).square();
  double last = 2.0;
  for (const std::int64_t rank : {1, 3, 6, 50}) {
    const auto near = update.as_low_rank(rank, weight_);
    EXPECT_EQ(near.update.rank(), std::min(rank, kOut));
    EXPECT_EQ(near.update.down.sizes().slice(1), weight_.sizes().slice(1));
    const LayerUpdate pair(near.update);
    const auto rest = (pair.difference(weight_) - exact).square().sum().item<double>();
    EXPECT_NEAR(near.rest, rest, 1e-5 * near.whole);
    EXPECT_NEAR(near.rest, values.slice(0, near.update.rank()).sum().item<double>(), 1e-9);
    EXPECT_NEAR(near.whole, exact.square().sum().item<double>(), 1e-9);
    EXPECT_LE(near.rest / near.whole, last);
    last = near.rest / near.whole;
  }
}

TEST_F(LayerUpdates, APairOfLowEnoughRankIsKeptAsItIs) {
  const LowRank pair{random({kRank, kChannels, kSide, kSide}), random({kOut, kRank, 1, 1}), 0.5};
  const auto near = LayerUpdate(pair).as_low_rank(kRank, weight_);
  EXPECT_TRUE(near.update.down.is_same(pair.down));
  EXPECT_EQ(near.update.scale, pair.scale);
  EXPECT_EQ(near.rest, 0.0);
  EXPECT_EQ(LayerUpdate(pair).as_low_rank(1, weight_).update.rank(), 1);
}

TEST_F(LayerUpdates, ShapesAreComparedBeforeAnythingIsMultiplied) {
  const auto of = [](std::map<LoraPart, Tensor> parts, DenseForm form) {
    return LayerUpdate(Dense{.form = form, .parts = std::move(parts)});
  };
  // 8,000 × 8,000 numbers if it were multiplied; 64 TB with a core of 1,000 × 1,000.
  const auto wide =
      of({{LoraPart::kKronecker1, random({80, 80})}, {LoraPart::kKronecker2, random({100, 100})}},
         DenseForm::kKronecker);
  EXPECT_FALSE(wide.fits(weight_.sizes()));
  EXPECT_FALSE(of({{LoraPart::kHadamard1A, random({kOut, 2})},
                   {LoraPart::kHadamard1B, random({3, kIn})},
                   {LoraPart::kHadamard2A, random({kOut, 2})},
                   {LoraPart::kHadamard2B, random({2, kIn})}},
                  DenseForm::kHadamard)
                   .fits(weight_.sizes()));
  EXPECT_FALSE(of({{LoraPart::kDifference, random(weight_.sizes())},
                   {LoraPart::kMagnitude, random({kOut + 1})}},
                  DenseForm::kDifference)
                   .fits(weight_.sizes()));
  EXPECT_FALSE(of({{LoraPart::kDifference, random(weight_.sizes())},
                   {LoraPart::kBiasDifference, random({kOut + 1})}},
                  DenseForm::kDifference)
                   .fits(weight_.sizes()));
}

TEST_F(LayerUpdates, WhatAFormLacksIsNamed) {
  using testing::ElementsAre;
  const auto missing = [](DenseForm form, std::initializer_list<LoraPart> parts) {
    Dense update{.form = form};
    for (const auto part : parts) update.parts[part] = torch::ones({2, 2});
    return update.missing();
  };
  EXPECT_THAT(missing(DenseForm::kHadamard, {LoraPart::kHadamard1A, LoraPart::kHadamard1B}),
              ElementsAre(LoraPart::kHadamard2A, LoraPart::kHadamard2B));
  EXPECT_THAT(missing(DenseForm::kKronecker, {LoraPart::kKronecker2A}),
              ElementsAre(LoraPart::kKronecker1, LoraPart::kKronecker2B));
  EXPECT_THAT(missing(DenseForm::kProduct, {LoraPart::kDown}), ElementsAre(LoraPart::kUp));
  EXPECT_THAT(missing(DenseForm::kDifference, {LoraPart::kMagnitude}),
              ElementsAre(LoraPart::kDifference));
}

TEST_F(LayerUpdates, OnlyAPairHasFactorsToTrain) {
  const LayerUpdate update(Dense{.parts = {{LoraPart::kDifference, random(weight_.sizes())}}});
  EXPECT_THROW(update.low_rank(), mos::Error);
}

}  // namespace
