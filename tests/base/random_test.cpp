#include "mos/base/random.h"

#include <gtest/gtest.h>
#include <torch/types.h>

namespace mos {
namespace {

TEST(Random, ASeedMeansTheSameNumbersWhateverElseDraws) {
  auto first = seeded_generator(7), second = seeded_generator(7), other = seeded_generator(8);
  const auto numbers = randn({3, 4}, first);
  torch::manual_seed(1);
  torch::rand({5});  // the global generator is another one
  EXPECT_TRUE(randn({3, 4}, second).equal(numbers));
  EXPECT_FALSE(randn({3, 4}, other).equal(numbers));
  EXPECT_FALSE(randn({3, 4}, first).equal(numbers)) << "and each draw is a new one";
}

TEST(Random, DrawsAreOnTheCpuInTheDtypeThatIsPromised) {
  auto generator = seeded_generator(1);
  EXPECT_EQ(randn({2}, generator).scalar_type(), torch::kFloat32);
  const auto whole = randint(3, 6, {1000}, generator);
  EXPECT_EQ(whole.scalar_type(), torch::kInt64);
  EXPECT_TRUE(whole.device().is_cpu());
  EXPECT_EQ(whole.min().item<std::int64_t>(), 3);
  EXPECT_EQ(whole.max().item<std::int64_t>(), 5) << "the upper bound is left out";
}

TEST(Random, UniformNumbersAreBelowOneAndSpread) {
  auto generator = seeded_generator(2);
  double sum = 0.0;
  constexpr int kDraws = 2000;
  for (int i = 0; i < kDraws; ++i) {
    const double drawn = uniform(generator);
    ASSERT_GE(drawn, 0.0);
    ASSERT_LT(drawn, 1.0);
    sum += drawn;
  }
  // Six deviations of the mean of 2,000 such numbers, 1 / √(12 · 2000) each.
  EXPECT_NEAR(sum / kDraws, 0.5, 6 * 0.0065);
}

}  // namespace
}  // namespace mos
