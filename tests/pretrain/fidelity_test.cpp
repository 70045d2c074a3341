#include "mos/pretrain/fidelity.h"

#include <gtest/gtest.h>

#include <cmath>

#include "mos/base/error.h"
#include "mos/base/random.h"

namespace mos::pretrain {
namespace {

using torch::Tensor;

Tensor normal(std::int64_t rows, std::int64_t columns, std::uint64_t seed) {
  auto generator = seeded_generator(seed);
  return mos::randn({rows, columns}, generator).to(torch::kFloat64);
}

TEST(FrechetDistance, IsZeroForTheSameSetAndThePlaceOfMeansForAMovedOne) {
  const auto a = normal(50, 4, 1);
  EXPECT_NEAR(frechet_distance(a, a), 0.0, 1e-9);
  const auto shift = torch::tensor({1.0, -2.0, 0.5, 0.0}, torch::kFloat64);
  EXPECT_NEAR(frechet_distance(a, a + shift), 1.0 + 4.0 + 0.25, 1e-9);
}

TEST(FrechetDistance, OfScaledAxesIsTheSumOverTheirDeviations) {
  // Whitened exactly, so the covariances are diagonal: Σ (s₁ − s₂)².
  auto x = normal(64, 3, 2);
  x = x - x.mean(0);
  const auto [values, vectors] = at::linalg_eigh(x.t().mm(x) / 63.0);
  const auto white = x.mm(vectors) / values.sqrt();
  const auto first = torch::tensor({1.0, 2.0, 3.0}, torch::kFloat64);
  const auto second = torch::tensor({2.0, 0.5, 3.0}, torch::kFloat64);
  EXPECT_NEAR(frechet_distance(white * first, white * second), 1.0 + 2.25 + 0.0, 1e-9);
}

TEST(FrechetDistance, OfTwoDimensionsIsTheRootOfTheProductsTraceAndDeterminant) {
  // tr (C₁C₂)^½ of 2×2 matrices = √(tr C₁C₂ + 2·√det C₁C₂): no eigenvectors.
  const auto a = normal(40, 2, 3),
             b = normal(60, 2, 4).mm(torch::tensor({{1.0, 0.7}, {0.0, 0.4}}, torch::kFloat64)) +
                 0.3;
  const auto covariance = [](const Tensor& x) {
    const auto c = x - x.mean(0);
    return c.t().mm(c) / static_cast<double>(x.size(0) - 1);
  };
  const auto c1 = covariance(a), c2 = covariance(b), product = c1.mm(c2);
  const double trace = product.trace().item<double>();
  const double root = std::sqrt(trace + 2.0 * std::sqrt(at::linalg_det(product).item<double>()));
  const double expected = (a.mean(0) - b.mean(0)).square().sum().item<double>() +
                          c1.trace().item<double>() + c2.trace().item<double>() - 2.0 * root;
  EXPECT_NEAR(frechet_distance(a, b), expected, 1e-9);
}

TEST(FrechetDistance, OfOnePictureIsRefused) {
  EXPECT_THROW(frechet_distance(normal(1, 3, 5), normal(9, 3, 6)), Error);
}

TEST(LaplacianEnergy, OfOneBrightPixelIsTheSquareOfItsStencil) {
  auto picture = torch::zeros({1, 7, 7, 3}, torch::kUInt8);
  picture[0][3][3] = 255;
  // 25 inner pixels: −4 in the middle, 1 at its four neighbours.
  EXPECT_NEAR(laplacian_energy(picture), (16.0 + 4.0) / 25.0, 1e-6);
}

TEST(LaplacianEnergy, SlopesHaveNoneAndBlurTakesItAway) {
  const auto ramp = (torch::arange(16) * 10).to(torch::kUInt8).view({1, 1, 16, 1});
  EXPECT_NEAR(laplacian_energy(ramp.expand({1, 16, 16, 3}).contiguous()), 0.0, 1e-9);
  auto generator = seeded_generator(7);
  const auto noise = (mos::randn({1, 3, 32, 32}, generator) * 40 + 128).clamp(0, 255);
  const auto pixels = [](const Tensor& x) {
    return x.round().to(torch::kUInt8).permute({0, 2, 3, 1}).contiguous();
  };
  const auto blurred = torch::avg_pool2d(noise, 3, 1, 1);
  EXPECT_LT(laplacian_energy(pixels(blurred)), 0.3 * laplacian_energy(pixels(noise)));
}

}  // namespace
}  // namespace mos::pretrain
