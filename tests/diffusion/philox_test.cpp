#include "mos/diffusion/philox.h"

#include <gtest/gtest.h>

namespace mos::diffusion {
namespace {

TEST(Philox, GivesTheNumbersOfItsAuthorsKnownAnswers) {
  using Four = std::array<std::uint32_t, 4>;
  EXPECT_EQ(philox4x32({0, 0, 0, 0}, {0, 0}),
            (Four{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  EXPECT_EQ(philox4x32({0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff}, {0xffffffff, 0xffffffff}),
            (Four{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(philox4x32({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}),
            (Four{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(Philox, DrawsWhatTorchDrawsOnCudaForSeedZero) {
  const auto drawn = PhiloxGenerator(0).randn({3, 4});
  const auto cuda = torch::tensor({{-0.92466259, -0.42534415, -2.6438457, 0.14518388},
                                   {-0.12086647, -0.57972564, -0.62285122, -0.32838709},
                                   {-1.07454231, -0.36314407, -1.67105067, 2.26550497}});
  EXPECT_LT((drawn - cuda).abs().max().item<double>(), 1e-6);
}

TEST(Philox, APictureOfABatchIsTheOneThatItsSeedMakesAlone) {
  PhiloxNoise both(7, 2), alone(8, 1);
  const auto batch = both.draw({4, 2, 3});
  EXPECT_TRUE(torch::equal(batch.slice(0, 1), alone.draw({4, 2, 3})));
  EXPECT_TRUE(
      torch::equal(both.source().like(batch).slice(0, 1), alone.source().like(batch.slice(0, 1))));
  EXPECT_FALSE(torch::equal(both.draw({4, 2, 3}), batch));
}

}  // namespace
}  // namespace mos::diffusion
