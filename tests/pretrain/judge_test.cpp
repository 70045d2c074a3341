#include "mos/pretrain/judge.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "mos/base/error.h"
#include "mos/base/random.h"
#include "mos/pretrain/initialise.h"
#include "mos/pretrain/tower_training.h"
#include "mos/pretrain/tower_views.h"
#include "tests/support/temp_dir.h"
#include "tests/world/synthetic_sprites.h"

namespace mos::pretrain {
namespace {

using torch::Tensor;
using world::Split;

/// A small world of discs, whose green says the class.
class JudgeTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    sprites_ = new world::SyntheticSprites();
    base_ = new TempDir();
    Dataset::prepare(base_->path(), options());
    data_ = new Dataset(base_->path());
  }
  static void TearDownTestSuite() {
    delete data_;
    delete base_;
    delete sprites_;
  }

  static DataOptions options() {
    DataOptions options{.sprites = sprites_->folder().string(), .pictures = 200, .held_out = 100};
    options.world.size = 64;
    options.world.classes = 20;
    return options;
  }

  static text::CLIPTokenizer tokenizer() {
    return text::CLIPTokenizer::from_directory(base_->path() / "tokenizer");
  }

  static nn::CLIPModel untrained() {
    const TowerOptions small{.hidden = 32, .layers = 1, .heads = 2, .projection = 16};
    nn::CLIPModel clip(nn::CLIPModelImpl::from_json(clip_config_json(small, tokenizer())));
    auto generator = seeded_generator(3);
    initialise_clip(*clip, generator);
    return clip;
  }

  static world::SyntheticSprites* sprites_;
  static TempDir* base_;
  static Dataset* data_;
};
world::SyntheticSprites* JudgeTest::sprites_ = nullptr;
TempDir* JudgeTest::base_ = nullptr;
Dataset* JudgeTest::data_ = nullptr;

TEST_F(JudgeTest, PicturesAreSharedAmongCanvasesAndDrawnTheSameEveryTime) {
  EXPECT_EQ(data_->size(Split::kTrain, 0), 100);  // half of 200
  EXPECT_EQ(data_->size(Split::kHeldOut, 3), 13);
  const auto indices = torch::tensor({4, 2}, torch::kInt64);
  const auto pictures = data_->pictures(Split::kTrain, indices, 3);
  EXPECT_EQ(pictures.sizes(), (std::vector<std::int64_t>{2, 64, 192, 3}));
  const auto batch = data_->batch(Split::kTrain, indices, torch::kFloat32, 3);
  EXPECT_TRUE(from_network(batch).equal(pictures));
  const auto layout = data_->layout(Split::kTrain, 2, 3);
  EXPECT_TRUE(pictures[1].equal(data_->compositor().draw(layout).picture));
  EXPECT_EQ(data_->caption(Split::kTrain, 2, 3),
            world::caption_text(data_->world(), layout.caption));
}

TEST_F(JudgeTest, AFolderOfOtherPicturesIsRefused) {
  auto other = options();
  Dataset::prepare(base_->path(), other);  // the same again is fine
  other.world.seed = 2;
  EXPECT_THROW(Dataset::prepare(base_->path(), other), Error);
}

TEST(PieceOf, PiecesTileThePicture) {
  for (const std::int64_t count : {1, 2, 3}) {
    std::int64_t at = 0;
    for (std::int64_t i = 0; i < count; ++i) {
      const auto piece = piece_of(100, i, count);
      EXPECT_EQ(piece.left, at);
      at = piece.right;
    }
    EXPECT_EQ(at, 100);
  }
}

TEST(Squeezed, IsTheMeanOfWhatEachPixelCovers) {
  auto picture = torch::zeros({1, 4, 8, 3}, torch::kUInt8);
  picture.slice(2, 0, 4).fill_(255);  // the left half is white
  const auto small = squeezed(picture, 2);
  EXPECT_EQ(small.sizes(), (std::vector<std::int64_t>{1, 3, 2, 2}));
  EXPECT_FLOAT_EQ(small[0][0][1][0].item<float>(), 1.0f);
  EXPECT_FLOAT_EQ(small[0][0][1][1].item<float>(), -1.0f);
}

TEST_F(JudgeTest, ViewsOfOneSubjectShowItAndNoStepSeesThePicturesOfAnother) {
  const ViewDraw draw{.batch = 64, .side = 64};
  const auto views = draw_views(*data_, draw, 5);
  EXPECT_EQ(views.pictures.sizes(), (std::vector<std::int64_t>{64, 3, 64, 64}));
  ASSERT_EQ(views.specs.size(), 64u);
  EXPECT_TRUE(views.pictures.equal(draw_views(*data_, draw, 5).pictures));
  EXPECT_FALSE(views.pictures.equal(draw_views(*data_, draw, 6).pictures));
  auto apart = draw;
  apart.first = 1ULL << 40;
  EXPECT_FALSE(views.pictures.equal(draw_views(*data_, apart, 5).pictures));
  int pieces = 0;
  for (std::int64_t i = 0; i < 64; ++i) {
    const auto& spec = views.specs[static_cast<std::size_t>(i)];
    if (spec.subjects.size() != 1) continue;
    ++pieces;
    const auto levels = ((views.pictures[i] + 1.0) * 127.5).round();
    const auto green = world::SyntheticSprites::green_of(spec.subjects[0].class_index);
    const auto own = levels[0].eq(255) & levels[2].eq(255) & (levels[1] - green).abs().le(1.0);
    EXPECT_GT(own.sum().item<std::int64_t>(), 60) << i;  // more than a fiftieth of the view
  }
  EXPECT_GT(pieces, 30);
}

TEST_F(JudgeTest, SubjectsAreToldPieceByPieceFromLeftToRight) {
  const auto clip = tokenizer();
  Judge judge(untrained(), clip, data_->world());
  const auto wide = data_->pictures(Split::kHeldOut, torch::arange(6), 3);
  const auto found = judge.subjects(wide, 3);
  ASSERT_EQ(found.sizes(), (std::vector<std::int64_t>{6, 3}));
  for (std::int64_t i = 0; i < 3; ++i) {
    const auto piece = wide.narrow(2, 64 * i, 64).contiguous();
    EXPECT_TRUE(found.select(1, i).equal(judge.subjects(piece, 1).select(1, 0)));
  }
  const auto nearest = judge.embeds(wide).mm(judge.embeds(background_prompts(data_->world())).t());
  EXPECT_TRUE(judge.backgrounds(wide).equal(nearest.argmax(1)));
}

TEST_F(JudgeTest, BackgroundsHaveTheNumbersOfTheirPrompts) {
  const auto& world = data_->world();
  const auto prompts = background_prompts(world);
  EXPECT_EQ(prompts.size(), world.scenes.size() + world.colours.size());
  for (std::int64_t i = 0; i < 40; ++i) {
    const auto spec = data_->layout(Split::kHeldOut, i).caption;
    EXPECT_THAT(prompts.at(static_cast<std::size_t>(background_of(world, spec))),
                testing::HasSubstr(world::background_phrase(world, spec)));
  }
}

TEST(RecognitionLoss, IsTheCrossEntropyOfThePicturesWithALabel) {
  const auto pictures = torch::tensor({{1.0f, 0.0f}, {0.0f, 1.0f}, {0.6f, 0.8f}});
  const auto prompts = torch::tensor({{1.0f, 0.0f}, {0.0f, 1.0f}});
  const auto labels = torch::tensor({0, -1, 1}, torch::kInt64);
  const auto term = [](double own, double other) { return std::log1p(std::exp(other - own)); };
  const double expected = 0.5 * (term(5.0, 0.0) + term(4.0, 3.0));
  EXPECT_NEAR(recognition_loss(pictures, prompts, labels, torch::tensor(5.0f)).item<double>(),
              expected, 1e-6);
  EXPECT_EQ(
      recognition_loss(pictures, prompts, torch::full({3}, -1, torch::kInt64), torch::tensor(5.0f))
          .item<double>(),
      0.0);
}

}  // namespace
}  // namespace mos::pretrain
