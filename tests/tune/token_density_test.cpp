#include "mos/tune/token_density.h"

#include <gtest/gtest.h>

#include <cmath>

#include "mos/base/random.h"

namespace {

using mos::tune::TokenDensity;
using torch::Tensor;

/// Σ over rows of −log Σ_c mean_v K(x_c − E_vc), one number after the other in float64.
double loss_by_loops(const Tensor& rows, const Tensor& vocabulary, double bandwidth) {
  const auto x = rows.to(torch::kFloat64), words = vocabulary.to(torch::kFloat64);
  const auto value = x.accessor<double, 2>();
  const auto entry = words.accessor<double, 2>();
  double loss = 0;
  for (std::int64_t r = 0; r < x.size(0); ++r) {
    double density = 0;
    for (std::int64_t c = 0; c < x.size(1); ++c) {
      double sum = 0;
      for (std::int64_t v = 0; v < words.size(0); ++v) {
        const double u = (value[r][c] - entry[v][c]) / bandwidth;
        sum += std::exp(-0.5 * u * u) / (std::sqrt(2 * M_PI) * bandwidth);
      }
      density += sum / static_cast<double>(words.size(0));
    }
    loss -= std::log(density);
  }
  return loss;
}

class TokenDensityTerm : public ::testing::Test {
 protected:
  at::Generator generator_ = mos::seeded_generator(3);
  Tensor words_ = mos::randn({40, 7}, generator_) * 0.3;
  Tensor rows_ = mos::randn({5, 7}, generator_) * 0.5;
};

TEST_F(TokenDensityTerm, EqualsTheSumOverAllWords) {
  // Wide and narrow against the words' spread; the narrow one needs many boxes.
  for (const double bandwidth : {0.5, 2.0, 0.05}) {
    const auto loss = mos::tune::token_density_loss({words_, bandwidth}, rows_);
    EXPECT_NEAR(loss.item<double>(), loss_by_loops(rows_, words_, bandwidth), 1e-9) << bandwidth;
  }
}

TEST_F(TokenDensityTerm, EqualsItFarFromAllWordsToo) {
  const auto far = rows_ + 3.0;
  const auto loss = mos::tune::token_density_loss({words_, 0.5}, far);
  const double expected = loss_by_loops(far, words_, 0.5);
  EXPECT_NEAR(loss.item<double>(), expected, 1e-6 * expected);
}

TEST_F(TokenDensityTerm, HasTheGradientOfThatSum) {
  const auto rows = rows_.clone().requires_grad_();
  const TokenDensity density(words_, 0.5);
  mos::tune::token_density_loss(density, rows).backward();
  constexpr double kStep = 1e-3;
  for (const std::int64_t place : {0, 11, 34}) {
    const auto moved = [&](double by) {
      auto changed = rows_.to(torch::kFloat64).clone();
      changed.view(-1)[place] += by;
      return loss_by_loops(changed, words_, 0.5);
    };
    const double slope = (moved(kStep) - moved(-kStep)) / (2 * kStep);
    EXPECT_NEAR(rows.grad().view(-1)[place].item<double>(), slope, 1e-5 + 1e-4 * std::abs(slope));
  }
}

TEST_F(TokenDensityTerm, PullsAStrayRowTowardsTheWords) {
  auto rows = (torch::ones({1, 7}) * 1.5).requires_grad_();
  const TokenDensity density(words_, 0.5);
  mos::tune::token_density_loss(density, rows).backward();
  EXPECT_TRUE((rows.grad() > 0).all().item<bool>());  // downhill is back towards zero
}

}  // namespace
