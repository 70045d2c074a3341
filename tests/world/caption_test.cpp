#include "mos/world/caption.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <set>
#include <sstream>

#include "mos/base/error.h"
#include "mos/base/json.h"
#include "mos/io/image.h"
#include "mos/text/clip_tokenizer.h"
#include "mos/world/layout.h"
#include "mos/world/sample_concepts.h"
#include "mos/world/vocabulary.h"
#include "tests/support/temp_dir.h"
#include "tests/world/artwork.h"
#include "tests/world/synthetic_sprites.h"

namespace mos::world {
using test::artwork;

namespace {

namespace fs = std::filesystem;
using testing::Contains;
using testing::HasSubstr;
using testing::Not;

constexpr int kLion = 0;
constexpr int kPanda = 2;
constexpr int kElephant = 9;

std::string file_bytes(const fs::path& path) {
  std::ifstream stream(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(stream), {}};
}

CaptionSpec lion_and_panda(PairTemplate pair) {
  CaptionSpec spec;
  spec.subjects = {{.class_index = kLion}, {.class_index = kPanda}};
  spec.background = BackgroundKind::kScene;
  spec.pair = pair;
  return spec;
}

TEST(Caption, SaysWhatTheSpecSays) {
  const auto world = make_world();
  CaptionSpec spec;
  EXPECT_EQ(caption_text(world, spec), "a red background");
  spec.subjects = {{.class_index = kElephant}};
  EXPECT_EQ(caption_text(world, spec), "an elephant on a red background");
  spec.background = BackgroundKind::kScene;
  spec.subjects[0].size = SizeWord::kSmall;
  spec.prefix = 1;
  EXPECT_EQ(caption_text(world, spec), "a photo of a small elephant on the beach");
  spec.subjects[0] = {.class_index = kElephant, .side = SideWord::kLeft};
  spec.background_words = BackgroundWords::kNone;
  EXPECT_EQ(caption_text(world, spec), "a photo of an elephant on the left");
}

TEST(Caption, PairTemplatesAgreeOnWhoIsLeft) {
  const auto world = make_world();
  const auto text = [&world](PairTemplate pair) {
    return caption_text(world, lion_and_panda(pair));
  };
  EXPECT_EQ(text(PairTemplate::kBothSides),
            "a lion on the left and a panda on the right on the beach");
  EXPECT_EQ(text(PairTemplate::kLeftOf), "a lion to the left of a panda on the beach");
  EXPECT_EQ(text(PairTemplate::kRightOf), "a panda to the right of a lion on the beach");
  EXPECT_EQ(text(PairTemplate::kAndReversed), "a panda and a lion on the beach");
}

TEST(Caption, SwappingSidesExchangesTheSubjects) {
  const auto world = make_world();
  const auto swapped = swap_sides(lion_and_panda(PairTemplate::kLeftOf));
  ASSERT_TRUE(swapped.has_value());
  EXPECT_EQ(caption_text(world, *swapped), "a panda to the left of a lion on the beach");
  EXPECT_FALSE(swap_sides(lion_and_panda(PairTemplate::kNextTo)).has_value());
  EXPECT_FALSE(swap_sides(CaptionSpec{.subjects = {{.class_index = kLion}}}).has_value());
  const auto other = swap_sides(CaptionSpec{.subjects = {{.side = SideWord::kLeft}}});
  EXPECT_EQ(other.value().subjects[0].side, SideWord::kRight);
}

TEST(Caption, ThreeSubjectsAreNamedWithTheirPlaces) {
  const auto world = make_world();
  auto spec = lion_and_panda(PairTemplate::kBothSides);
  spec.subjects.push_back({.class_index = kElephant});
  const auto text = [&](TripleTemplate triple) {
    spec.triple = triple;
    return caption_text(world, spec);
  };
  EXPECT_EQ(text(TripleTemplate::kAllPlaces),
            "a lion on the left, a panda in the middle and an elephant on the right on the beach");
  EXPECT_EQ(text(TripleTemplate::kMiddleFirst),
            "a panda in the middle, a lion on the left and an elephant on the right on the beach");
  EXPECT_EQ(text(TripleTemplate::kBetween), "a panda between a lion and an elephant on the beach");
  EXPECT_EQ(text(TripleTemplate::kList), "a lion, a panda and an elephant on the beach");
  EXPECT_FALSE(swap_sides(spec).has_value()) << "a list names no places";
  spec.triple = TripleTemplate::kBetween;
  EXPECT_EQ(caption_text(world, *swap_sides(spec)),
            "an elephant between a lion and a panda on the beach");
  spec.triple = TripleTemplate::kAllPlaces;
  EXPECT_EQ(caption_text(world, *swap_sides(spec)),
            "an elephant on the left, a panda in the middle and a lion on the right on the beach");
}

TEST(Caption, AStyleIsNamedBeforeOrAfterAndCanBeExchanged) {
  const auto world = make_world();
  CaptionSpec spec{.subjects = {{.class_index = kLion}}, .style = 1, .prefix = 1};
  EXPECT_EQ(caption_text(world, spec), "a photo of a lion on a red background");
  EXPECT_FALSE(swap_style(spec, 2).has_value()) << "it is not named";
  spec.style_words = StyleWords::kPrefix;
  EXPECT_EQ(caption_text(world, spec), "a cartoon picture of a lion on a red background");
  spec.style_words = StyleWords::kSuffix;
  EXPECT_EQ(caption_text(world, spec), "a photo of a lion on a red background, cartoon style");
  EXPECT_EQ(caption_text(world, *swap_style(spec, 2)),
            "a photo of a lion on a red background, 3d style");
  spec.subjects.clear();
  EXPECT_EQ(caption_text(world, spec), "a photo of a red background") << "backgrounds have none";
}

TEST(Caption, SwappingASubjectLeavesTheRest) {
  const auto world = make_world();
  const auto spec = swap_subject(lion_and_panda(PairTemplate::kLeftOf), 1, kElephant);
  EXPECT_EQ(caption_text(world, spec), "a lion to the left of an elephant on the beach");
}

TEST(World, GrowsWithoutRenumbering) {
  const auto small = make_world({.classes = 5, .scenes = 2, .colours = 3});
  const auto large = make_world({.classes = 60, .scenes = 12, .colours = 10});
  for (std::size_t i = 0; i < small.classes.size(); ++i) {
    EXPECT_EQ(small.classes[i].name, large.classes[i].name);
  }
  EXPECT_EQ(small.scenes[1].name, large.scenes[1].name);
}

TEST(World, RefusesImpossibleOptions) {
  const WorldOptions wrong[] = {{.classes = 1000},
                                {.classes = 0},
                                {.scenes = 13},
                                {.colours = 11},
                                {.styles = 4},
                                {.canvases = 0},
                                {.plain_background = -0.1},
                                {.size = 0}};
  for (const auto& options : wrong) {
    try {
      make_world(options);
      ADD_FAILURE() << "accepted";
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::kUsage);
    }
  }
}

/// The first code point of a drawing: "1f9d1" of "1f9d1-200d-1f373". What follows is a variation.
std::string first_code_point(const Json& source) {
  const auto text = source.get<std::string>();
  return text.substr(0, text.find('-'));
}

TEST(World, ReservedSubjectsAreNowhere) {
  const auto& reserved = reserved_subjects();
  for (const auto& entry : all_classes()) EXPECT_THAT(reserved, Not(Contains(entry.name)));
  for (const auto& scene : all_scenes()) EXPECT_THAT(reserved, Not(Contains(scene.name)));
  for (const auto& sample : sample_concepts()) EXPECT_THAT(reserved, Not(Contains(sample.name)));

  // genie, supervillain, guard, lobster, sauropod, saxophone, moai, teapot, mount fuji,
  // desert island, bridge at night, volcano, candy
  const std::vector<std::string> code_points = {"1f9de", "1f9b9", "1f482", "1f99e", "1f995",
                                                "1f3b7", "1f5ff", "1fad6", "1f5fb", "1f3dd",
                                                "1f309", "1f30b", "1f36c"};
  const auto drawings = artwork();
  for (const auto& [name, source] : drawings.at("subjects").items()) {
    EXPECT_THAT(reserved, Not(Contains(name)));
    EXPECT_THAT(code_points, Not(Contains(first_code_point(source)))) << name;
  }
  for (const auto& [name, entry] : drawings.at("concepts").items()) {
    EXPECT_THAT(reserved, Not(Contains(name)));
    if (!entry.at("source").is_string()) continue;
    EXPECT_THAT(code_points, Not(Contains(first_code_point(entry.at("source"))))) << name;
  }
}

TEST(World, SampleConceptsAreNoSubjectsInAnyStyle) {
  const auto drawings = artwork();
  std::vector<std::string> names, code_points;
  for (const auto& [name, entry] : drawings.at("concepts").items()) {
    names.push_back(name);
    if (entry.at("source").is_string()) code_points.push_back(first_code_point(entry.at("source")));
  }
  EXPECT_EQ(code_points.size(), 4u);
  for (const auto& [name, source] : drawings.at("subjects").items()) {
    EXPECT_THAT(names, Not(Contains(name)));
    EXPECT_THAT(code_points, Not(Contains(first_code_point(source)))) << name;
  }
  for (const auto& entry : all_classes()) EXPECT_THAT(names, Not(Contains(entry.name)));
}

TEST(World, ArtworkHasEverySubjectStyleAndConceptOnce) {
  const auto drawings = artwork();
  std::set<std::string> sources;
  for (const auto& entry : all_classes()) {
    ASSERT_TRUE(drawings["subjects"].contains(entry.name)) << entry.name;
    sources.insert(drawings["subjects"][entry.name].get<std::string>());
  }
  EXPECT_EQ(sources.size(), all_classes().size()) << "two subjects have one drawing";
  EXPECT_EQ(drawings["subjects"].size(), all_classes().size());
  for (const auto& style : all_styles()) EXPECT_THAT(drawings["styles"], Contains(style.folder));
  for (const auto& sample : sample_concepts()) {
    if (sample.style == "drawn") continue;
    EXPECT_EQ(drawings["concepts"][sample.name]["style"], sample.style);
  }
}

class VocabularyTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = new TempDir();
    write_vocabulary(*folder_ / "tokenizer");
  }
  static void TearDownTestSuite() { delete folder_; }

  text::CLIPTokenizer tokenizer() const {
    return text::CLIPTokenizer::from_directory(*folder_ / "tokenizer");
  }

  static TempDir* folder_;
};
TempDir* VocabularyTest::folder_ = nullptr;

TEST_F(VocabularyTest, EveryWordIsOneToken) {
  const auto clip = tokenizer();
  for (const auto& word : vocabulary_words()) EXPECT_EQ(clip.encode_words(word).size(), 1u) << word;
  for (const auto& entry : all_classes()) EXPECT_TRUE(clip.token_id(entry.name + "</w>"));
  for (const auto& sample : sample_concepts()) {
    EXPECT_TRUE(clip.token_id(sample.class_word + "</w>")) << sample.class_word;
  }
}

TEST_F(VocabularyTest, IsLaidOutAsClips) {
  const auto clip = tokenizer();
  EXPECT_EQ(clip.token_id("!"), 0);
  EXPECT_EQ(clip.token_id("a"), 64);
  EXPECT_EQ(clip.token_id("a</w>"), 320);
  EXPECT_EQ(clip.bos_id(), clip.vocab_size() - 2);
  EXPECT_EQ(clip.eos_id(), clip.vocab_size() - 1);
  EXPECT_EQ(clip.pad_id(), clip.eos_id());
}

TEST_F(VocabularyTest, OtherTextIsSpelledInSmallerPieces) {
  const auto clip = tokenizer();
  EXPECT_GT(clip.encode_words("xylophone").size(), 1u);
  EXPECT_GT(clip.encode_words("Zürich").size(), 1u);
}

TEST_F(VocabularyTest, TheSameBytesEveryTime) {
  write_vocabulary(*folder_ / "again");
  for (const auto& entry : fs::directory_iterator(*folder_ / "tokenizer")) {
    EXPECT_EQ(file_bytes(entry.path()), file_bytes(*folder_ / "again" / entry.path().filename()));
  }
}

TEST_F(VocabularyTest, CaptionsFitIntoATextOneTokenAWord) {
  const auto clip = tokenizer();
  const auto world = make_world({.classes = 160, .styles = 3});
  for (std::uint64_t i = 0; i < 2000; ++i) {
    const auto caption =
        caption_text(world, layout_of(world, {.index = i, .canvas = i % 5}).caption);
    const auto ids = clip.encode(caption);
    EXPECT_LE(static_cast<std::int64_t>(ids.size()), clip.model_max_length()) << caption;
    std::istringstream stream(caption);
    std::size_t words =
        2 + static_cast<std::size_t>(std::count(caption.begin(), caption.end(), ','));
    if (caption.find("3d") != std::string::npos) ++words;  // a digit is a token of its own
    for (std::string word; stream >> word;) ++words;
    EXPECT_EQ(ids.size(), words) << caption;
  }
}

TEST(SampleConcepts, AreDrawnTheSameEveryTimeWithMasksThatSelectSomething) {
  const SyntheticSprites sprites;
  for (const auto& sample : sample_concepts()) {
    const auto pictures = draw_concept(sample, sprites.folder(), 4);
    const auto again = draw_concept(sample, sprites.folder(), 4);
    for (std::size_t i = 0; i < pictures.size(); ++i) {
      EXPECT_TRUE(pictures[i].picture.equal(again[i].picture));
      EXPECT_TRUE(pictures[i].mask.equal(again[i].mask));
      EXPECT_GT(pictures[i].mask.to(torch::kFloat32).mean().item<float>(), 12.0f);
      const auto [first, second] = sample.words();
      EXPECT_THAT(pictures[i].caption, HasSubstr(first + " " + second));
    }
  }
}

TEST(SampleConcepts, ShippedFoldersAreComplete) {
  for (const auto& sample : sample_concepts()) {
    const auto folder = fs::path(MOS_SOURCE_DIR) / "base" / "concepts" / sample.name;
    const auto description = read_json_file(folder / "concept.json");
    EXPECT_EQ(description["class_word"], sample.class_word);
    EXPECT_EQ(description["words"][0], sample.words()[0]);
    int pictures = 0;
    for (const auto& entry : fs::directory_iterator(folder / "images")) {
      ++pictures;
      const auto name = entry.path().filename();
      const auto image = io::read_image(entry.path()).pixels;
      const auto mask = io::read_image(folder / "masks" / name).pixels;
      EXPECT_EQ(image.sizes(), (std::vector<std::int64_t>{128, 128, 3}));
      EXPECT_EQ(mask.sizes(), (std::vector<std::int64_t>{128, 128, 1}));
      auto caption = folder / "captions" / name;
      EXPECT_THAT(file_bytes(caption.replace_extension(".txt")), HasSubstr(sample.words()[1]));
    }
    EXPECT_EQ(pictures, 8) << sample.name;
  }
}

}  // namespace
}  // namespace mos::world
