#include "mos/pretrain/batches.h"

#include <gmock/gmock.h>

#include <cmath>

#include "mos/base/error.h"
#include "mos/base/random.h"
#include "tests/support/errors.h"
#include "tests/support/temp_dir.h"
#include "tests/world/synthetic_sprites.h"

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

/// Square and other pictures of a tiny world.
class Pictures : public testing::Test {
 protected:
  static constexpr std::int64_t kBatch = 21;

  Pictures() { prepare(400); }

  void prepare(std::int64_t pictures) {
    std::filesystem::remove_all(base_ / "data");
    DataOptions options{
        .sprites = sprites_.folder().string(), .pictures = pictures, .held_out = 10};
    options.world.size = 16;
    Dataset::prepare(base_.path(), options);
  }

  static std::int64_t with_several(const Dataset& data, const torch::Tensor& squares) {
    std::int64_t count = 0;
    for (std::int64_t i = 0; i < squares.size(0); ++i) {
      const auto layout = data.layout(world::Split::kTrain, squares[i].item<std::int64_t>());
      if (layout.caption.subjects.size() > 1) ++count;
    }
    return count;
  }

  world::SyntheticSprites sprites_;
  TempDir base_;
};

TEST_F(Pictures, AreDrawnAsEverWithoutAShareAndOnOtherCanvases) {
  const Dataset data(base_.path());
  for (const auto& [canvas, several] :
       {std::pair<std::size_t, std::optional<double>>{0, {}}, {1, {}}, {1, 0.9}}) {
    auto ours = seeded_generator(3), before = seeded_generator(3);
    const PictureDraw draw(data, several);
    const auto size = data.size(world::Split::kTrain, canvas);
    for (int step = 0; step < 3; ++step) {
      const auto expected =
          torch::randint(size, {kBatch}, before, torch::TensorOptions(torch::kInt64));
      EXPECT_TRUE(torch::equal(draw.indices(canvas, kBatch, ours), expected));
    }
    EXPECT_EQ(uniform(ours), uniform(before));  // and nothing else is drawn
  }
}

TEST_F(Pictures, WithAShareHaveSeveralSubjectsAsOftenAsItSays) {
  const Dataset data(base_.path());
  auto generator = seeded_generator(3);
  for (const double several : {0.0, 0.4, 1.0}) {
    const PictureDraw draw(data, several);
    constexpr std::int64_t kDraws = 300;
    std::int64_t all = 0;
    for (std::int64_t step = 0; step < kDraws; ++step) {
      const auto squares = draw.indices(0, kBatch, generator);
      ASSERT_EQ(squares.sizes(), torch::IntArrayRef({kBatch}));
      const auto count = with_several(data, squares);
      EXPECT_LT(std::abs(static_cast<double>(count) - several * kBatch), 1.0);
      all += count;
    }
    // Of rounding 0.4 · 21 by lot: a deviation of 0.5 a draw, so 0.0014 of the mean share.
    EXPECT_NEAR(static_cast<double>(all) / (kDraws * kBatch), several, 0.006);
  }
}

TEST_F(Pictures, WithAShareAreAllOfThemInTheEnd) {
  const Dataset data(base_.path());
  const PictureDraw draw(data, 0.5);
  auto generator = seeded_generator(3);
  const auto drawn = draw.indices(0, 10000, generator);
  const auto seen = torch::bincount(drawn, {}, data.size(world::Split::kTrain));
  EXPECT_EQ(seen.size(0), data.size(world::Split::kTrain));
  EXPECT_GT(seen.min().item<std::int64_t>(), 0);
}

TEST_F(Pictures, ThatThereAreNoneOfAreRefused) {
  prepare(1);
  const Dataset data(base_.path());
  const auto message =
      test::message_of(ErrorKind::kUsage, [&] { PictureDraw(data, /*several=*/0.5); });
  EXPECT_THAT(message, testing::HasSubstr("\"several\" is 0.5, but of the square pictures"));
}

}  // namespace
}  // namespace mos::pretrain
