#include "mos/tune/dataset.h"

#include <fmt/core.h>
#include <gmock/gmock.h>

#include <algorithm>
#include <map>
#include <set>

#include "mos/base/error.h"
#include "mos/base/file.h"
#include "mos/base/random.h"
#include "mos/io/image.h"
#include "mos/tune/draws.h"
#include "mos/tune/framing.h"
#include "tests/support/temp_dir.h"

namespace {

using mos::tune::FramingKind;

namespace fs = std::filesystem;
using mos::tune::check_dataset;
using ::testing::AllOf;
using ::testing::Contains;
using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::Gt;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Lt;
using ::testing::Pair;
using ::testing::SizeIs;
using ::testing::UnorderedElementsAre;

/// A folder with two good pictures, one mask and one caption.
class Dataset : public ::testing::Test {
 protected:
  Dataset() {
    for (const char* part : {"images", "masks", "captions"}) fs::create_directories(folder_ / part);
    const auto picture = torch::full({24, 20, 3}, 90, torch::kUInt8);
    mos::io::write_png(folder_ / "images/a.png", picture);
    mos::io::write_png(folder_ / "images/b.png", picture);
    mos::io::write_png(folder_ / "masks/a.png", mask());
    mos::write_text_file(folder_ / "captions/a.txt", "a  <fox1> <fox2>, red\nsecond line\n");
    mos::write_text_file(folder_ / "concept.json",
                         R"({"words": ["<fox1>", "<fox2>"], "class_word": "fox"})");
  }

  static torch::Tensor mask(std::int64_t height = 24, std::int64_t width = 20) {
    auto mask = torch::zeros({height, width, 1}, torch::kUInt8);
    mask.narrow(0, 0, 10).fill_(255);
    return mask;
  }

  std::vector<std::string> problems() { return check_dataset(folder_.path()).problems; }

  mos::TempDir folder_;
};

TEST_F(Dataset, ReadsPicturesMasksCaptionsAndWords) {
  const auto dataset = mos::tune::load_dataset(folder_.path());
  ASSERT_THAT(dataset.pictures, SizeIs(2));
  EXPECT_THAT(dataset.words, ElementsAre("<fox1>", "<fox2>"));
  EXPECT_EQ(dataset.class_word, "fox");
  EXPECT_EQ(dataset.pictures[0].caption.text, "a <TOK>, red");
  EXPECT_TRUE(dataset.pictures[0].caption.from_file);
  EXPECT_EQ(dataset.pictures[1].caption.text, "<TOK>");
  EXPECT_EQ(dataset.pictures[0].mask.sum().item<std::int64_t>(), 10 * 20 * 255);
  EXPECT_FALSE(dataset.pictures[1].mask.defined());
}

TEST_F(Dataset, CaptionsMayHaveTheFoldersWordsUnderAnyName) {
  for (const auto& words : std::vector<std::vector<std::string>>{{"<fox1>"}, {"<other>"}, {}}) {
    const auto dataset = mos::tune::load_dataset(folder_.path(), {.words = words});
    EXPECT_EQ(dataset.pictures[0].caption.text, "a <TOK>, red");
  }
}

TEST_F(Dataset, MasksAndCaptionsAreOptional) {
  fs::remove_all(folder_ / "masks");
  fs::remove_all(folder_ / "captions");
  fs::remove(folder_ / "concept.json");
  EXPECT_THAT(problems(), IsEmpty());
}

TEST_F(Dataset, EveryProblemIsNamedWithItsFile) {
  mos::write_text_file(folder_ / "images/c.png", "no picture");
  mos::write_text_file(folder_ / "images/notes.doc", "no picture either");
  mos::io::write_png(folder_ / "masks/b.png", mask(24, 24));
  mos::io::write_png(folder_ / "masks/z.png", mask());
  mos::write_text_file(folder_ / "captions/b.txt", "\n");
  mos::write_text_file(folder_ / "captions/y.txt", "a <TOK>");
  EXPECT_THAT(problems(),
              UnorderedElementsAre(HasSubstr("images/c.png"), HasSubstr("images/notes.doc"),
                                   AllOf(HasSubstr("masks/b.png"), HasSubstr("24x24")),
                                   HasSubstr("masks/z.png"), HasSubstr("captions/b.txt"),
                                   HasSubstr("captions/y.txt")));
}

TEST_F(Dataset, MaskThatSelectsNothingIsRefused) {
  mos::io::write_png(folder_ / "masks/a.png", torch::zeros({24, 20, 1}, torch::kUInt8));
  EXPECT_THAT(problems(), ElementsAre(AllOf(HasSubstr("masks/a.png"), HasSubstr("nothing"))));
}

TEST_F(Dataset, ColouredMaskIsRefused) {
  auto coloured = torch::zeros({24, 20, 3}, torch::kUInt8);
  coloured.select(2, 0).fill_(255);
  mos::io::write_png(folder_ / "masks/a.png", coloured);
  EXPECT_THAT(problems(), ElementsAre(AllOf(HasSubstr("masks/a.png"), HasSubstr("colour"))));
}

TEST_F(Dataset, EmptyFolderIsRefused) {
  const mos::TempDir empty;
  EXPECT_THAT(check_dataset(empty.path()).problems, ElementsAre(HasSubstr("no pictures")));
  fs::remove_all(folder_ / "images");
  fs::create_directories(folder_ / "images");
  EXPECT_THROW(mos::tune::load_dataset(folder_.path()), mos::Error);
}

TEST_F(Dataset, MissingFolderIsAnIoError) {
  try {
    mos::tune::load_dataset(folder_ / "nowhere");
    FAIL();
  } catch (const mos::Error& error) {
    EXPECT_EQ(error.kind(), mos::ErrorKind::kIo);
  }
}

TEST_F(Dataset, WordsStandInAListOrInOneText) {
  for (const char* words : {R"(["<fox1>", "<fox2>"])", R"("<fox1> <fox2>")", R"("<fox1>,<fox2>")",
                            R"(["<fox1> <fox2>"])", R"([" <fox1>, <fox2> "])"}) {
    mos::write_text_file(folder_ / "concept.json", fmt::format(R"({{"words": {}}})", words));
    EXPECT_THAT(mos::tune::load_dataset(folder_.path()).words, ElementsAre("<fox1>", "<fox2>"));
  }
}

TEST_F(Dataset, UnknownKeyOfTheDescriptionIsSaid) {
  mos::write_text_file(folder_ / "concept.json", R"({"words": ["<f1>"], "clas_word": "fox"})");
  EXPECT_THAT(check_dataset(folder_.path()).dataset.warnings,
              Contains(AllOf(HasSubstr("clas_word"), HasSubstr("class_word"))));
}

TEST_F(Dataset, CaptionOfSeveralLinesIsItsFirstWithTextAndTheRestIsSaid) {
  mos::write_text_file(folder_ / "captions/a.txt", "\r\n \t\r\na <TOK>\tin  snow\r\nred hat\r\n");
  const auto dataset = mos::tune::load_dataset(folder_.path());
  EXPECT_EQ(dataset.pictures[0].caption.text, "a <TOK> in snow");
  EXPECT_THAT(dataset.pictures[0].caption.others, IsEmpty());
  EXPECT_THAT(dataset.warnings,
              ElementsAre(AllOf(HasSubstr("only the first"), HasSubstr("captions/a.txt"))));
}

TEST_F(Dataset, LinesOfACaptionAreChoicesOrOneTextWhereAskedFor) {
  mos::write_text_file(folder_ / "captions/a.txt", "a <TOK>\n\n<fox1> <fox2>, red hat\n");
  auto any =
      mos::tune::load_dataset(folder_.path(), {.caption_lines = mos::tune::CaptionLines::kAny});
  EXPECT_EQ(any.pictures[0].caption.text, "a <TOK>");
  EXPECT_THAT(any.pictures[0].caption.others, ElementsAre("<TOK>, red hat"));
  EXPECT_THAT(any.warnings, IsEmpty());
  const auto all =
      mos::tune::load_dataset(folder_.path(), {.caption_lines = mos::tune::CaptionLines::kAll});
  EXPECT_EQ(all.pictures[0].caption.text, "a <TOK> <TOK>, red hat");
}

TEST_F(Dataset, CaptionLosesItsByteOrderMark) {
  mos::write_text_file(folder_ / "captions/a.txt", "\xef\xbb\xbf<TOK>, snow");
  EXPECT_EQ(mos::tune::load_dataset(folder_.path()).pictures[0].caption.text, "<TOK>, snow");
}

TEST_F(Dataset, CaptionsInOtherEncodingsAreNamed) {
  using namespace std::string_view_literals;
  for (const auto bytes : {"\xff\xfe<\0T\0"sv, "caf\xe9 <TOK>"sv, "\x93<TOK>\x94"sv, "<\0T\0"sv}) {
    mos::write_text_file(folder_ / "captions/a.txt", bytes);
    EXPECT_THAT(problems(), ElementsAre(AllOf(HasSubstr("captions/a.txt"), HasSubstr("UTF-8"))));
  }
}

TEST_F(Dataset, CaptionAsLongAsABookIsRefused) {
  mos::write_text_file(folder_ / "captions/a.txt", std::string(100'000, 'a'));
  EXPECT_THAT(problems(), ElementsAre(AllOf(HasSubstr("captions/a.txt"), HasSubstr("100000"))));
}

TEST_F(Dataset, SummaryCountsWhatIsThere) {
  EXPECT_EQ(mos::tune::load_dataset(folder_.path()).summary(),
            "2 pictures, 1 with a mask, 1 with a caption");
}

TEST_F(Dataset, BrokenLinkIsAProblem) {
  fs::create_symlink("nowhere.png", folder_ / "images/c.png");
  EXPECT_THAT(problems(), ElementsAre(AllOf(HasSubstr("images/c.png"), HasSubstr("link"))));
}

TEST_F(Dataset, MaskIsTurnedAsItsPictureIs) {
  // Both are stored lying; what stands in the mask selects what stands in the picture.
  const auto pixels = torch::full({20, 24, 3}, 90, torch::kUInt8);
  auto stored = torch::zeros({20, 24, 1}, torch::kUInt8);
  stored.narrow(1, 0, 6).fill_(255);
  const std::string block("MM\0*\0\0\0\10\0\1\1\22\0\3\0\0\0\1\0\6\0\0\0\0\0\0", 26);
  const auto profile = [&] {
    std::string text = "\nexif\n26\n";
    for (const char c : block) text += fmt::format("{:02x}", static_cast<unsigned char>(c));
    return std::map<std::string, std::string>{{"Raw profile type exif", text}};
  }();
  mos::io::write_png(folder_ / "images/a.png", pixels, profile);
  mos::io::write_png(folder_ / "masks/a.png", stored, profile);
  const auto dataset = mos::tune::load_dataset(folder_.path());
  EXPECT_EQ(dataset.pictures[0].pixels.size(0), 24);
  EXPECT_TRUE(dataset.pictures[0].mask.equal(stored.squeeze(2).rot90(-1)));
}

TEST(Framing, TakesPictureAndMaskThroughTheSameMap) {
  // Where the picture is white the mask is, whatever the framing.
  auto pixels = torch::zeros({60, 40, 3}, torch::kUInt8);
  pixels.narrow(0, 20, 20).narrow(1, 10, 20).fill_(255);
  const auto mask = pixels.select(2, 0).contiguous();
  for (const auto kind :
       {FramingKind::kCharacter, FramingKind::kObject, FramingKind::kFit, FramingKind::kZoom}) {
    mos::tune::PictureOptions options;
    options.framing = kind;
    options.flip_probability = 0.5;
    for (std::uint64_t draw = 0; draw < 10; ++draw) {
      auto generator = mos::tune::generator_for(1, mos::tune::Draw::kFraming, draw);
      const auto framing = mos::tune::draw_framing(60, 40, 32, options, generator);
      const auto framed = mos::tune::apply_framing(framing, pixels, mask, 32);
      const auto white = (framed.pixels[0] + 1) / 2;
      EXPECT_LT((white - framed.subject_mask).abs().max().item<double>(), 0.01)
          << mos::choice_name(kind);
      EXPECT_EQ(framed.picture_mask.sum().item<std::int64_t>(),
                framing.target.height * framing.target.width);
      EXPECT_EQ((framed.subject_mask * (1 - framed.picture_mask)).sum().item<double>(), 0.0);
    }
  }
}

TEST(Framing, OfZoomIsFarWholeOrNearAndSaysSo) {
  mos::tune::PictureOptions options;
  options.framing = FramingKind::kZoom;
  std::map<mos::tune::Zoom, int> seen;
  for (std::uint64_t draw = 0; draw < 300; ++draw) {
    auto generator = mos::tune::generator_for(2, mos::tune::Draw::kFraming, draw);
    const auto framing = mos::tune::draw_framing(90, 90, 60, options, generator);
    ++seen[framing.zoom];
    const auto shown = framing.target.height;
    if (framing.zoom == mos::tune::Zoom::kFar) {
      EXPECT_TRUE(shown >= 20 && shown <= 36 && framing.source.height == 90) << shown;
    } else {
      EXPECT_EQ(shown, 60);
      const auto cut = framing.source.height;  // 90 / 1.4 … 90 / 1.2, or all
      EXPECT_TRUE(framing.zoom == mos::tune::Zoom::kNone ? cut == 90 : cut >= 63 && cut <= 75);
    }
  }
  // Two in three are far or whole, of which 4 in 10 are from a third to 0.6.
  EXPECT_NEAR(seen[mos::tune::Zoom::kFar], 80, 25);
  EXPECT_NEAR(seen[mos::tune::Zoom::kNear], 100, 30);
}

TEST(Framing, WholePictureFillsTheLongSideWithoutCropping) {
  mos::tune::PictureOptions options;
  options.crop_probability = 0;
  auto generator = mos::seeded_generator(0);
  const auto framing = mos::tune::draw_framing(60, 30, 128, options, generator);
  EXPECT_EQ(framing.target.height, 128);
  EXPECT_EQ(framing.target.width, 64);
  EXPECT_EQ(framing.source.height, 60);
}

TEST(Framing, KnowsHowThinAPictureCanBecome) {
  for (const auto kind :
       {FramingKind::kCharacter, FramingKind::kObject, FramingKind::kFit, FramingKind::kZoom}) {
    for (const double crop : {0.0, 0.5, 1.0}) {
      mos::tune::PictureOptions options;
      options.framing = kind;
      options.crop_probability = crop;
      for (const auto& [height, width] : {std::pair{400, 20}, std::pair{20, 400}}) {
        const auto least = mos::tune::thinnest_side(height, width, 64, options);
        std::int64_t thinnest = 64;
        for (std::uint64_t draw = 0; draw < 300; ++draw) {
          auto generator = mos::tune::generator_for(1, mos::tune::Draw::kFraming, draw);
          const auto target = mos::tune::draw_framing(height, width, 64, options, generator).target;
          thinnest = std::min({thinnest, target.height, target.width});
        }
        EXPECT_GE(thinnest, least) << mos::choice_name(kind) << crop << height;
        EXPECT_LE(thinnest, least + 1) << mos::choice_name(kind) << crop << height;
      }
    }
  }
}

TEST(Captions, PlaceholderBecomesTheWords) {
  EXPECT_EQ(mos::tune::fill_placeholder(" a  <TOK>, <TOK>! ", "<a1> <a2>"),
            "a <a1> <a2>, <a1> <a2>!");
}

TEST(Captions, ShufflingKeepsTheFirstPartsAndLosesNone) {
  auto generator = mos::seeded_generator(5);
  std::set<std::string> seen;
  for (int i = 0; i < 20; ++i) {
    seen.insert(mos::tune::shuffle_parts("<TOK>, red ,blue", 1, generator));
  }
  EXPECT_THAT(seen, UnorderedElementsAre("<TOK>, red, blue", "<TOK>, blue, red"));
}

TEST(Captions, TemplatesSurroundMereWordsButNotCaptionsOfTheirOwn) {
  auto generator = mos::seeded_generator(5);
  const mos::tune::CaptionOptions options;
  EXPECT_NE(mos::tune::draw_prompt({"<TOK>", false}, options, generator), "<TOK>");
  EXPECT_EQ(mos::tune::draw_prompt({"<TOK> at sea", true}, options, generator), "<TOK> at sea");
}

TEST(Captions, EachOfSeveralIsDrawnAndOneAloneDrawsNothing) {
  mos::tune::CaptionOptions options;
  options.shuffle = false;
  options.templates = mos::tune::Templates::kNone;
  std::map<std::string, int> drawn;
  auto generator = mos::seeded_generator(5);
  for (int i = 0; i < 300; ++i) {
    ++drawn[mos::tune::draw_prompt({"a <TOK>", true, {"<TOK>, b", "c <TOK>"}}, options, generator)];
  }
  EXPECT_THAT(drawn, UnorderedElementsAre(Pair("a <TOK>", AllOf(Gt(60), Lt(140))),
                                          Pair("<TOK>, b", AllOf(Gt(60), Lt(140))),
                                          Pair("c <TOK>", AllOf(Gt(60), Lt(140)))));
}

TEST(Captions, EveryTemplateHasOnePlaceForTheCaption) {
  using mos::tune::Templates;
  for (const auto kind :
       {Templates::kPhoto, Templates::kCharacter, Templates::kPainting, Templates::kNone}) {
    EXPECT_THAT(mos::tune::caption_templates(kind), Each(HasSubstr("{}")));
  }
}

}  // namespace
