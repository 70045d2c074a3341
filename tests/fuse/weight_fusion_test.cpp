#include "mos/fuse/weight_fusion.h"

#include <gmock/gmock.h>

#include "mos/base/error.h"
#include "mos/base/random.h"

namespace {

using mos::fuse::LowRankUpdate;
using testing::ElementsAre;

TEST(WeightFusion, IsTheWeightedSumOfTheUpdates) {
  auto generator = mos::seeded_generator(1);
  const LowRankUpdate updates[] = {
      {mos::randn({4, 2}, generator), mos::randn({2, 3}, generator)},
      {},  // a concept that leaves this layer alone
      {mos::randn({4, 1}, generator), mos::randn({1, 3}, generator)},
  };
  const double weights[] = {0.5, 0.3, 0.2};
  const auto fused = mos::fuse::weighted_sum(updates, weights);
  EXPECT_EQ(fused.down.size(0), 3);
  const auto expected = 0.5 * torch::matmul(updates[0].up, updates[0].down) +
                        0.2 * torch::matmul(updates[2].up, updates[2].down);
  EXPECT_TRUE(torch::allclose(torch::matmul(fused.up, fused.down), expected.to(torch::kFloat64),
                              1e-5, 1e-6));
}

TEST(WeightFusion, WeightsAreFractionsOfOne) {
  EXPECT_THAT(mos::fuse::normalized_weights({}, 4), ElementsAre(0.25, 0.25, 0.25, 0.25));
  EXPECT_THAT(mos::fuse::normalized_weights(std::vector{3.0, 1.0}, 2), ElementsAre(0.75, 0.25));
}

TEST(WeightFusion, RefusesWeightsThatAreNone) {
  for (const auto& weights : std::vector<std::vector<double>>{{1.0}, {1.0, -1.0}, {0.0, 0.0}}) {
    EXPECT_THROW(mos::fuse::normalized_weights(weights, 2), mos::Error);
  }
}

}  // namespace
