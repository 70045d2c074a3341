#include "mos/fuse/weight_fusion.h"

#include <gmock/gmock.h>

#include <cmath>

#include "mos/base/error.h"
#include "mos/base/random.h"

namespace {

using mos::fuse::Update;
using mos::fuse::Weighting;
using testing::ElementsAre;

Update random_update(std::int64_t rank, at::Generator& generator) {
  return {.up = mos::randn({4, rank}, generator).to(torch::kFloat64),
          .down = mos::randn({rank, 3}, generator).to(torch::kFloat64)};
}

TEST(WeightFusion, IsTheWeightedSumOfTheUpdates) {
  auto generator = mos::seeded_generator(1);
  Update updates[] = {random_update(2, generator),
                      {},  // a concept that leaves this layer alone
                      random_update(1, generator)};
  const double weights[] = {0.5, 0.3, 0.2};
  const auto expected = 0.5 * torch::matmul(updates[0].up, updates[0].down) +
                        0.2 * torch::matmul(updates[2].up, updates[2].down);
  const auto fused = mos::fuse::weighted_sum(updates, weights);
  EXPECT_EQ(fused.rank(), 3);
  EXPECT_TRUE(torch::allclose(fused.matrix(), expected));

  updates[2] = {.dense = updates[2].matrix()};
  const auto mixed = mos::fuse::weighted_sum(updates, weights);
  EXPECT_FALSE(mixed.is_low_rank());
  EXPECT_TRUE(torch::allclose(mixed.matrix(), expected));
}

TEST(ConceptWeights, AreFractionsOfOneFactorsOrAnImportance) {
  using mos::fuse::concept_weights;
  EXPECT_THAT(concept_weights(Weighting::kFractions, {}, 4), ElementsAre(0.25, 0.25, 0.25, 0.25));
  EXPECT_THAT(concept_weights(Weighting::kFactors, {}, 2), ElementsAre(1.0, 1.0));
  const double given[] = {3.0, 1.0};
  EXPECT_THAT(concept_weights(Weighting::kFractions, given, 2), ElementsAre(0.75, 0.25));
  EXPECT_THAT(concept_weights(Weighting::kFactors, given, 2), ElementsAre(3.0, 1.0));
  EXPECT_THAT(concept_weights(Weighting::kImportance, given, 2), ElementsAre(3.0, 1.0));
}

TEST(ConceptWeights, RefuseWhatTheMethodCannotUse) {
  const auto refused = [](Weighting weighting, const std::vector<double>& weights) {
    EXPECT_THROW(mos::fuse::concept_weights(weighting, weights, 2), mos::Error);
  };
  for (const auto weighting : {Weighting::kFractions, Weighting::kImportance}) {
    for (const auto& weights : std::vector<std::vector<double>>{{1.0}, {1.0, -1.0}, {0.0, 0.0}}) {
      refused(weighting, weights);
    }
  }
  refused(Weighting::kFactors, {1.0});
  refused(Weighting::kFactors, {1.0, std::nan("")});
  EXPECT_THAT(mos::fuse::concept_weights(Weighting::kFactors, std::vector{1.0, -1.0}, 2),
              ElementsAre(1.0, -1.0));
}

}  // namespace
