#include "mos/pretrain/batches.h"

#include <gtest/gtest.h>

#include <cmath>

#include "mos/base/random.h"

namespace mos::pretrain {
namespace {

constexpr std::int64_t kCount = 400, kSteps = 1000;

torch::Tensor drawn(TimestepDraw draw) {
  auto generator = seeded_generator(4);
  return std::get<0>(stratified_timesteps(kCount, kSteps, generator, draw).sort());
}

TEST(StratifiedTimesteps, EveryStretchIsDrawnOnce) {
  const auto stretch = drawn(TimestepDraw::kUniform).to(torch::kFloat64) / kSteps * kCount;
  const auto expected = torch::arange(kCount, torch::kFloat64);
  EXPECT_LE((stretch - expected - 0.5).abs().max().item<double>(), 0.9);
}

TEST(StratifiedTimesteps, CubicDrawsLieAboveHalfAsOftenAsTheFormulaSays) {
  // (1 − u³) > 1/2 where u < 2^(−1/3).
  const auto above = drawn(TimestepDraw::kCubic).ge(kSteps / 2).to(torch::kFloat64).mean();
  EXPECT_NEAR(above.item<double>(), std::pow(2.0, -1.0 / 3.0), 2.0 / kCount);
  EXPECT_LT(drawn(TimestepDraw::kCubic).max().item<std::int64_t>(), kSteps);
  EXPECT_GE(drawn(TimestepDraw::kCubic).min().item<std::int64_t>(), 0);
}

}  // namespace
}  // namespace mos::pretrain
