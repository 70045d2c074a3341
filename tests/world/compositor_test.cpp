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

TEST_F(CompositorTest, APictureIsAFunctionOfSeedSplitCanvasAndIndex) {
  const auto first = make().compose({.index = 5});
  const auto again = make().compose({.index = 5});
  EXPECT_TRUE(first.picture.equal(again.picture));
  EXPECT_TRUE(first.labels.equal(again.labels));
  EXPECT_EQ(first.caption, again.caption);
  EXPECT_FALSE(first.picture.equal(make().compose({Split::kHeldOut, 5}).picture));
  EXPECT_FALSE(first.picture.equal(make().compose({.index = 6}).picture));
  EXPECT_FALSE(first.picture.equal(make({.seed = 2}).compose({.index = 5}).picture));
  EXPECT_NE(first.caption, make().compose({.index = 5, .canvas = 4}).caption);
}

TEST_F(CompositorTest, BatchesAreThePicturesOneByOneOnEveryCanvas) {
  const auto compositor = make();
  const auto indices = torch::tensor({7, 3, 1000000}, torch::kInt64);
  const std::vector<std::vector<std::int64_t>> sizes = {
      {3, 128, 128, 3}, {3, 128, 192, 3}, {3, 128, 256, 3}, {3, 128, 384, 3}, {3, 192, 128, 3}};
  for (std::size_t canvas = 0; canvas < sizes.size(); ++canvas) {
    const auto batch = compositor.pictures(Split::kTrain, indices, canvas);
    EXPECT_EQ(batch.sizes(), sizes[canvas]);
    for (int i = 0; i < 3; ++i) {
      const auto index = static_cast<std::uint64_t>(indices[i].item<std::int64_t>());
      EXPECT_TRUE(batch[i].equal(compositor.compose({.index = index, .canvas = canvas}).picture));
    }
  }
}

/// The first layouts of a canvas that show `count` subjects.
std::vector<Layout> layouts_with(const World& world, std::size_t count, std::size_t canvas) {
  std::vector<Layout> found;
  for (std::uint64_t i = 0; i < 1000 && found.size() < 50; ++i) {
    auto layout = layout_of(world, {.index = i, .canvas = canvas});
    if (layout.caption.subjects.size() == count) found.push_back(std::move(layout));
  }
  return found;
}

TEST_F(CompositorTest, OtherWordsKeepWhatThePictureShows) {
  const auto world = make_world();
  for (std::size_t count = 1; count <= 3; ++count) {
    const auto told = layouts_with(world, count, 2).at(0).caption;
    std::set<std::string> texts;
    Rng rng(1);
    for (int i = 0; i < 200; ++i) {
      auto spec = told;
      choose_words(world, spec, rng);
      for (std::size_t s = 0; s < count; ++s) {
        EXPECT_EQ(spec.subjects[s].class_index, told.subjects[s].class_index);
        EXPECT_EQ(spec.subjects[s].side, told.subjects[s].side);
      }
      EXPECT_EQ(spec.background_index, told.background_index);
      EXPECT_EQ(spec.style, told.style);
      texts.insert(caption_text(world, spec));
    }
    EXPECT_GT(texts.size(), 20u);
  }
}

TEST_F(CompositorTest, LabelsCoverTheSubjectAndNothingElse) {
  const auto compositor = make();
  for (std::uint64_t i = 0; i < 40; ++i) {
    const auto composite = compositor.compose({.index = i, .canvas = i % 5});
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
  const auto compositor = make({.size = 64, .rotation_degrees = 30.0});
  for (std::uint64_t i = 0; i < 300; ++i) {
    const auto layout = layout_of(compositor.world(), {.index = i, .canvas = i % 5});
    const auto [rows, columns] = compositor.world().pixels(layout.canvas);
    for (const auto& subject : compositor.subjects(layout)) {
      EXPECT_GE(subject.box.top, 0);
      EXPECT_GE(subject.box.left, 0);
      EXPECT_LT(subject.box.top, subject.box.bottom);
      EXPECT_LT(subject.box.left, subject.box.right);
      EXPECT_LE(subject.box.bottom, rows);
      EXPECT_LE(subject.box.right, columns);
    }
  }
}

TEST_F(CompositorTest, SubjectsStandFromLeftToRightAndDiffer) {
  const auto compositor = make();
  for (std::size_t canvas = 0; canvas < 4; ++canvas) {
    for (const std::size_t count : {2u, 3u}) {
      for (const auto& layout : layouts_with(compositor.world(), count, canvas)) {
        const auto placed = compositor.subjects(layout);
        for (std::size_t s = 1; s < placed.size(); ++s) {
          EXPECT_NE(placed[s - 1].class_index, placed[s].class_index);
          EXPECT_LE(placed[s - 1].box.right, placed[s].box.left + 16) << "beside each other";
        }
      }
    }
  }
}

TEST_F(CompositorTest, ASingleSubjectStandsWhereItsCaptionSays) {
  const auto compositor = make();
  std::set<SideWord> seen;
  for (std::size_t canvas = 0; canvas < 4; ++canvas) {
    const auto columns = static_cast<double>(compositor.world().pixels(canvas)[1]);
    for (std::uint64_t i = 0; i < 600; ++i) {
      const auto layout = layout_of(compositor.world(), {.index = i, .canvas = canvas});
      const auto& subjects = layout.caption.subjects;
      if (subjects.size() != 1 || subjects[0].side == SideWord::kNone) continue;
      const auto box = compositor.subjects(layout)[0].box;
      const double middle = 0.5 * static_cast<double>(box.left + box.right) / columns;
      const auto said = subjects[0].side;
      seen.insert(said);
      if (said == SideWord::kLeft) {
        EXPECT_LT(middle, 0.4);
      } else if (said == SideWord::kRight) {
        EXPECT_GT(middle, 0.6);
      } else {
        EXPECT_NEAR(middle, 0.5, 0.1);
      }
    }
  }
  EXPECT_EQ(seen.size(), 3u);
}

TEST_F(CompositorTest, SmallIsSmallerThanBig) {
  const auto world = make_world();
  double least_big = 9.0, most_small = 0.0;
  for (std::uint64_t i = 0; i < 3000; ++i) {
    const auto layout = layout_of(world, {.index = i});
    if (layout.caption.subjects.size() != 1) continue;
    const auto& subject = layout.caption.subjects[0];
    if (subject.side != SideWord::kNone) continue;
    const double height = layout.placements[0].height;
    if (subject.size == SizeWord::kBig) least_big = std::min(least_big, height);
    if (subject.size == SizeWord::kSmall) most_small = std::max(most_small, height);
  }
  EXPECT_LT(most_small, 0.7 * least_big);
}

TEST_F(CompositorTest, NumbersOfSubjectsAndStylesFollowTheShares) {
  const auto world = make_world();
  for (std::size_t canvas = 0; canvas < world.canvases.size(); ++canvas) {
    double counts[4] = {0, 0, 0, 0}, second_style = 0;
    std::set<int> classes;
    constexpr int kDrawn = 4000;
    for (std::uint64_t i = 0; i < kDrawn; ++i) {
      const auto spec = layout_of(world, {.index = i, .canvas = canvas}).caption;
      ++counts[spec.subjects.size()];
      second_style += spec.style == 1 ? 1 : 0;
      for (const auto& subject : spec.subjects) classes.insert(subject.class_index);
    }
    for (std::size_t n = 0; n < 4; ++n) {
      EXPECT_NEAR(counts[n] / kDrawn, world.canvases[canvas].subjects[n], 0.03);
    }
    EXPECT_NEAR(second_style / kDrawn, 0.4, 0.03);
    EXPECT_EQ(classes.size(), 120u) << "every class is drawn";
  }
}

TEST_F(CompositorTest, CaptionsNameWhatIsDrawn) {
  const auto world = make_world();
  for (std::uint64_t i = 0; i < 600; ++i) {
    const auto spec = layout_of(world, {.index = i, .canvas = i % 5}).caption;
    const auto caption = caption_text(world, spec);
    for (const auto& subject : spec.subjects) {
      EXPECT_THAT(caption,
                  HasSubstr(world.classes[static_cast<std::size_t>(subject.class_index)].name));
    }
    if (spec.style_words != StyleWords::kNone && !spec.subjects.empty()) {
      EXPECT_THAT(caption, HasSubstr(world.styles[static_cast<std::size_t>(spec.style)].name));
    }
    if (spec.background_words == BackgroundWords::kNone && !spec.subjects.empty()) continue;
    const auto index = static_cast<std::size_t>(spec.background_index);
    EXPECT_THAT(caption,
                HasSubstr(spec.background == BackgroundKind::kScene ? world.scenes[index].name
                                                                    : world.colours[index].name));
  }
}

TEST_F(CompositorTest, EverySceneFillsThePictureAndVaries) {
  const auto world = make_world();
  for (std::size_t scene = 0; scene < world.scenes.size(); ++scene) {
    torch::Tensor pictures[2];
    for (std::uint64_t key = 0; key < 2; ++key) {
      CaptionSpec spec{.background = BackgroundKind::kScene};
      spec.background_index = static_cast<int>(scene);
      Canvas canvas(48, 80);
      for (int i = 0; i < 48 * 80 * 3; ++i) canvas.pixel(0, 0)[i] = -1.0f;
      draw_background(canvas, world, spec, key);
      for (int i = 0; i < 48 * 80 * 3; ++i) {
        ASSERT_GE(canvas.pixel(0, 0)[i], 0.0f) << world.scenes[scene].name;
      }
      pictures[key] = torch::empty({48, 80, 3}, torch::kUInt8);
      store_pixels(canvas, pictures[key].data_ptr<std::uint8_t>());
    }
    EXPECT_FALSE(pictures[0].equal(pictures[1])) << world.scenes[scene].name;
  }
}

TEST(Canvas, ACircleIsACircleOnEveryCanvas) {
  for (const auto& [rows, columns] : {std::pair{60, 60}, {60, 120}, {90, 60}}) {
    Canvas canvas(rows, columns);
    canvas.ellipse(0.5 * canvas.width(), 0.5 * canvas.height(), 0.25, 0.25, {1.0f, 1.0f, 1.0f});
    double area = 0.0;
    for (int y = 0; y < rows; ++y) {
      for (int x = 0; x < columns; ++x) area += static_cast<double>(canvas.pixel(y, x)[0]);
    }
    EXPECT_NEAR(area / 3600.0, 3.14159 * 0.0625, 0.002);
  }
}

TEST(Canvas, ABandCoversWhatLiesBetweenItsLines) {
  Canvas canvas(40, 80);
  canvas.band([](double x) { return 0.2 + 0.1 * x; }, [](double) { return 0.6; },
              {1.0f, 1.0f, 1.0f});
  double area = 0.0;
  for (int i = 0; i < 40 * 80; ++i) area += static_cast<double>(canvas.pixel(0, 0)[3 * i]);
  EXPECT_NEAR(area / 1600.0, 2.0 * 0.3, 1e-3);  // 0.4 at the left, 0.2 at the right
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
