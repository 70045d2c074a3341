#include "mos/world/compositor.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>
#include <tuple>

#include "mos/base/error.h"
#include "tests/world/synthetic_sprites.h"

namespace mos::world {
namespace {

using testing::HasSubstr;

class CompositorTest : public testing::Test {
 protected:
  static void SetUpTestSuite() { sprites_ = new SyntheticSprites(); }
  static void TearDownTestSuite() { delete sprites_; }

  static Compositor make(const WorldOptions& options = {}) {
    return Compositor(make_world(options), sprites_->folder());
  }

  static SyntheticSprites* sprites_;
};
SyntheticSprites* CompositorTest::sprites_ = nullptr;

TEST_F(CompositorTest, APictureIsAFunctionOfSeedSplitAndIndex) {
  const auto first = make().compose(Split::kTrain, 5);
  const auto again = make().compose(Split::kTrain, 5);
  EXPECT_TRUE(first.picture.equal(again.picture));
  EXPECT_TRUE(first.labels.equal(again.labels));
  EXPECT_EQ(first.caption, again.caption);
  EXPECT_FALSE(first.picture.equal(make().compose(Split::kHeldOut, 5).picture));
  EXPECT_FALSE(first.picture.equal(make().compose(Split::kTrain, 6).picture));
  EXPECT_FALSE(first.picture.equal(make({.seed = 2}).compose(Split::kTrain, 5).picture));
}

TEST_F(CompositorTest, BatchesAreThePicturesOneByOne) {
  const auto compositor = make();
  const auto batch = compositor.pictures(Split::kTrain, 7, 3);
  const auto captions = compositor.captions(Split::kTrain, 7, 3);
  EXPECT_EQ(batch.sizes(), (std::vector<std::int64_t>{3, 128, 128, 3}));
  for (int i = 0; i < 3; ++i) {
    const auto one = compositor.compose(Split::kTrain, static_cast<std::uint64_t>(7 + i));
    EXPECT_TRUE(batch[i].equal(one.picture));
    EXPECT_EQ(captions[static_cast<std::size_t>(i)], one.caption);
  }
}

TEST_F(CompositorTest, OtherWordsKeepWhatThePictureShows) {
  const auto compositor = make({.two_subjects = 0.95});
  const auto told = compositor.layout(Split::kTrain, 3).caption;
  ASSERT_EQ(told.subjects.size(), 2u);
  std::set<std::string> texts;
  Rng rng(1);
  for (int i = 0; i < 200; ++i) {
    auto spec = told;
    choose_words(spec, rng);
    EXPECT_EQ(spec.subjects[0].class_index, told.subjects[0].class_index);
    EXPECT_EQ(spec.subjects[1].class_index, told.subjects[1].class_index);
    EXPECT_EQ(spec.background_index, told.background_index);
    texts.insert(caption_text(compositor.world(), spec));
  }
  EXPECT_GT(texts.size(), 20u);
}

TEST_F(CompositorTest, LabelsCoverTheSubjectAndNothingElse) {
  const auto compositor = make();
  for (std::uint64_t i = 0; i < 40; ++i) {
    const auto composite = compositor.compose(Split::kTrain, i);
    const auto picture = composite.picture.to(torch::kInt64);
    for (std::size_t k = 0; k < composite.subjects.size(); ++k) {
      const auto& [which, box] = composite.subjects[k];
      const auto mask = subject_mask(composite, k).eq(255);
      // Inside, away from the soft edge, the subject's own colour: magenta, green by class.
      const auto green = picture.select(2, 1).masked_select(mask);
      const auto is_own = green.eq(SyntheticSprites::green_of(which));
      EXPECT_GT(is_own.to(torch::kFloat32).mean().item<float>(), 0.85f) << "picture " << i;
      // Nothing outside its box.
      auto outside = mask.clone();
      outside.slice(0, box.top, box.bottom).slice(1, box.left, box.right).fill_(false);
      EXPECT_EQ(outside.sum().item<std::int64_t>(), 0);
      EXPECT_GT(mask.sum().item<std::int64_t>(),
                (box.bottom - box.top) * (box.right - box.left) / 2);
    }
  }
}

TEST_F(CompositorTest, BoxesAreInsideThePictureWhateverTheOptions) {
  const auto compositor = make({.size = 64, .one_height_max = 0.98, .rotation_degrees = 30.0});
  for (std::uint64_t i = 0; i < 200; ++i) {
    for (const auto& subject : compositor.compose(Split::kTrain, i).subjects) {
      EXPECT_GE(subject.box.top, 0);
      EXPECT_GE(subject.box.left, 0);
      EXPECT_LT(subject.box.top, subject.box.bottom);
      EXPECT_LT(subject.box.left, subject.box.right);
      EXPECT_LE(subject.box.bottom, 64);
      EXPECT_LE(subject.box.right, 64);
    }
  }
}

TEST_F(CompositorTest, TwoSubjectsStandFromLeftToRightAndDiffer) {
  const auto compositor = make({.no_subject = 0.0, .two_subjects = 1.0});
  for (std::uint64_t i = 0; i < 100; ++i) {
    const auto composite = compositor.compose(Split::kTrain, i);
    ASSERT_EQ(composite.subjects.size(), 2u);
    const auto& [left, right] = std::tie(composite.subjects[0], composite.subjects[1]);
    EXPECT_NE(left.class_index, right.class_index);
    EXPECT_LE(left.box.right, right.box.left + 6) << "beside each other";
  }
}

TEST_F(CompositorTest, NumbersOfSubjectsFollowTheShares) {
  const auto compositor = make({.no_subject = 0.1, .two_subjects = 0.3});
  int counts[3] = {0, 0, 0};
  std::set<int> classes;
  for (std::uint64_t i = 0; i < 4000; ++i) {
    const auto spec = compositor.layout(Split::kTrain, i).caption;
    ++counts[spec.subjects.size()];
    for (const auto& subject : spec.subjects) classes.insert(subject.class_index);
  }
  EXPECT_NEAR(counts[0], 400, 100);
  EXPECT_NEAR(counts[2], 1200, 150);
  EXPECT_EQ(classes.size(), 32u) << "every class is drawn";
}

TEST_F(CompositorTest, CaptionsNameWhatIsDrawn) {
  const auto compositor = make();
  const auto& world = compositor.world();
  for (std::uint64_t i = 0; i < 300; ++i) {
    const auto composite = compositor.compose(Split::kTrain, i);
    for (const auto& subject : composite.subjects) {
      EXPECT_THAT(composite.caption,
                  HasSubstr(world.classes[static_cast<std::size_t>(subject.class_index)].name));
    }
    const auto& spec = composite.spec;
    if (spec.background_words == BackgroundWords::kNone && !spec.subjects.empty()) continue;
    const auto index = static_cast<std::size_t>(spec.background_index);
    EXPECT_THAT(composite.caption,
                HasSubstr(spec.background == BackgroundKind::kScene ? world.scenes[index].name
                                                                    : world.colours[index].name));
  }
}

TEST_F(CompositorTest, EverySceneFillsThePictureAndVaries) {
  for (const auto& scene : all_scenes()) {
    torch::Tensor pictures[2];
    for (std::uint64_t key = 0; key < 2; ++key) {
      const auto world = make_world({.scenes = static_cast<std::int64_t>(all_scenes().size())});
      CaptionSpec spec{.background = BackgroundKind::kScene};
      spec.background_index = static_cast<int>(&scene - all_scenes().data());
      Canvas canvas(32);
      for (int i = 0; i < 32 * 32 * 3; ++i) canvas.pixel(0, 0)[i] = -1.0f;
      draw_background(canvas, world, spec, key);
      for (int i = 0; i < 32 * 32 * 3; ++i) ASSERT_GE(canvas.pixel(0, 0)[i], 0.0f) << scene.name;
      pictures[key] = torch::empty({32, 32, 3}, torch::kUInt8);
      store_pixels(canvas, pictures[key].data_ptr<std::uint8_t>());
    }
    EXPECT_FALSE(pictures[0].equal(pictures[1])) << scene.name;
  }
}

TEST_F(CompositorTest, AMissingSpriteIsNamed) {
  try {
    Compositor(make_world(), sprites_->folder() / "nowhere");
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kIo);
    EXPECT_THAT(error.what(), testing::AllOf(HasSubstr("\"lion\""), HasSubstr("sprites.mjs")));
  }
}

TEST_F(CompositorTest, ASpriteThatIsTransparentEverywhereIsRefused) {
  const auto path = sprites_->folder() / "empty.png";
  io::write_png(path, torch::zeros({4, 4, 4}, torch::kUInt8));
  try {
    load_sprite(path, 10);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kFormat);
    EXPECT_THAT(error.what(), HasSubstr("empty.png"));
  }
}

TEST_F(CompositorTest, SpritesAreCroppedAndShrunkToTheirShape) {
  const auto file = sprite_file(sprites_->folder(), "fluent", "lion");
  const auto whole = load_sprite(file, 1000);
  EXPECT_EQ(whole.height, 40);
  EXPECT_EQ(whole.width, 30);
  const auto small = load_sprite(file, 20);
  EXPECT_EQ(small.height, 20);
  EXPECT_EQ(small.width, 15);
}

TEST(Resize, KeepsTheMeanOfEveryChannel) {
  Sprite sprite{7, 5, std::vector<float>(7 * 5 * 4)};
  Rng rng(3);
  for (auto& value : sprite.pixels) value = static_cast<float>(rng.uniform());
  const auto mean = [](const Sprite& of, std::size_t channel) {
    double sum = 0.0;
    for (std::size_t i = channel; i < of.pixels.size(); i += 4) sum += of.pixels[i];
    return 4.0 * sum / static_cast<double>(of.pixels.size());
  };
  for (const auto& [height, width] : {std::pair{3, 2}, {11, 9}, {7, 5}}) {
    const auto resized = resize(sprite, height, width);
    for (std::size_t c = 0; c < 4; ++c) EXPECT_NEAR(mean(resized, c), mean(sprite, c), 1e-6);
  }
}

}  // namespace
}  // namespace mos::world
