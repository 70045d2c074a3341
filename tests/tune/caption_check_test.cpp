#include "mos/tune/caption_check.h"

#include <gmock/gmock.h>

#include "mos/base/error.h"
#include "tests/tune/tiny_model.h"

namespace {

using mos::tune::ConceptDataset;
using mos::tune::TuneOptions;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

/// A picture named 0, 1, … for each caption.
ConceptDataset dataset(const std::vector<std::string>& captions) {
  ConceptDataset result;
  for (const auto& caption : captions) {
    result.pictures.push_back(
        {.name = std::to_string(result.pictures.size()), .caption = {caption, true, {}}});
  }
  return result;
}

TuneOptions options(std::vector<std::string> words = {"<a1>", "<a2>"}) {
  TuneOptions result;
  result.words.words = std::move(words);
  result.captions.shuffle = false;
  return result;
}

/// CLIP's tokenizer reads 77 tokens; each "cat" is one.
std::vector<std::string> warnings(const ConceptDataset& data, const TuneOptions& how) {
  static const auto tokenizer = mos::text::CLIPTokenizer::clip();
  return mos::tune::weigh_captions(data, how, tokenizer);
}

std::string cats(int count) {
  std::string text;
  for (int i = 0; i < count; ++i) text += " cat";
  return text;
}

template <class Work>
std::string refusal(Work work) {
  try {
    work();
  } catch (const mos::Error& error) {
    EXPECT_EQ(error.kind(), mos::ErrorKind::kUsage);
    return error.what();
  }
  return "";
}

TEST(CaptionCheck, MissesTheConceptAsAWholeWord) {
  const auto lacking = [](const std::string& caption, std::vector<std::string> words) {
    return refusal([&] { mos::tune::check_captions(dataset({caption}), options(words)); });
  };
  EXPECT_EQ(lacking("a <TOK>", {"<a1>", "<a2>"}), "");
  EXPECT_EQ(lacking("<a2> and <a1>", {"<a1>", "<a2>"}), "");
  EXPECT_THAT(lacking("a <a1>", {"<a1>", "<a2>"}), HasSubstr("captions of 0 lack the concept"));
  EXPECT_THAT(lacking("scatter", {"cat"}), HasSubstr("lack the concept"));
}

TEST(CaptionCheck, NamesOnlyTheFirstOfManyPictures) {
  const auto message = refusal([&] {
    mos::tune::check_captions(dataset(std::vector<std::string>(40, "nothing")), options());
  });
  EXPECT_THAT(message, AllOf(HasSubstr("0, 1, 2, 3, 4 and 35 more"), Not(HasSubstr("39"))));
}

TEST(CaptionCheck, EveryCaptionOfAPictureNeedsTheConcept) {
  auto data = dataset({"a <TOK>"});
  data.pictures[0].caption.others = {"red hat"};
  EXPECT_THAT(refusal([&] { mos::tune::check_captions(data, options()); }), HasSubstr("of 0 lack"));
}

TEST(CaptionLengths, AtTheLimitNothingIsSaid) {
  EXPECT_THAT(warnings(dataset({"<TOK>" + cats(73)}), options()), IsEmpty());  // 1 + 2 + 73 + 1
  EXPECT_THAT(warnings(dataset({"<TOK>" + cats(74)}), options()),
              ElementsAre(AllOf(HasSubstr("longer than the 77 tokens"), HasSubstr("0 (78)"))));
}

TEST(CaptionLengths, AConceptThatIsCutOffIsRefused) {
  EXPECT_THAT(warnings(dataset({cats(73) + " <TOK>"}), options()), IsEmpty());
  EXPECT_THAT(refusal([] { warnings(dataset({cats(74) + " <TOK>"}), options()); }),
              AllOf(HasSubstr("captions of 0"), HasSubstr("77 tokens")));
  EXPECT_EQ(refusal([] { warnings(dataset({"<TOK>" + cats(90) + " <TOK>"}), options()); }), "");
}

TEST(CaptionLengths, TemplatesCount) {
  auto how = options();
  how.captions.templates =
      mos::tune::Templates::kCharacter;  // "a cropped photo of the {}" puts five before it
  EXPECT_THAT(warnings(dataset({"<TOK>" + cats(68)}), how), IsEmpty());
  EXPECT_THAT(warnings(dataset({"<TOK>" + cats(69)}), how), ElementsAre(HasSubstr("0 (78)")));
}

TEST(CaptionLengths, ShufflingCanPushTheConceptOut) {
  auto how = options();
  const auto data = dataset({"a photo, a <TOK>," + cats(73)});
  EXPECT_THAT(warnings(data, how), ElementsAre(HasSubstr("longer")));
  how.captions.shuffle = true;  // keeps "a photo" in front
  EXPECT_THAT(refusal([&] { warnings(data, how); }), HasSubstr("--shuffle false"));
  how.captions.keep = 2;
  EXPECT_EQ(refusal([&] { warnings(data, how); }), "");
}

TEST(CaptionLengths, PlainWordsOfAConceptAreFoundToo) {
  EXPECT_THAT(refusal([] { warnings(dataset({cats(80) + " bear"}), options({"bear"})); }),
              HasSubstr("captions of 0"));
  EXPECT_EQ(refusal([] { warnings(dataset({"a bear" + cats(80)}), options({"bear"})); }), "");
}

TEST(CaptionLengths, WeightsOfOtherProgramsAreSaid) {
  EXPECT_THAT(warnings(dataset({"a <TOK>", "a <TOK>, (snow:1.2)"}), options()),
              ElementsAre(AllOf(HasSubstr("captions of 1"), HasSubstr("(snow:1.2)"))));
}

TEST(CaptionCheck, AWordThatNobodyHasIsSaid) {
  EXPECT_THAT(warnings(dataset({"a <TOK>", "<TOK> with <hat1>", "<a1> <a2> <a3>"}), options()),
              ElementsAre(AllOf(HasSubstr("captions of 1, 2: <hat1>, <a3> are read as plain text"),
                                HasSubstr("the concept is <TOK> or <a1> <a2>"))));
  EXPECT_THAT(warnings(dataset({"qqa <tok>"}), options({"qqa"})), ElementsAre(HasSubstr("<tok>")));
  auto how = options();
  how.run.preview_prompts = {"a <TOK>", "<a1> in a <wizrd1>"};
  EXPECT_THAT(warnings(dataset({"a <TOK>"}), how),
              ElementsAre(HasSubstr("preview prompt \"<a1> in a <wizrd1>\": <wizrd1> is")));
  auto tokenizer = mos::text::CLIPTokenizer::clip();
  tokenizer.add_token("<wizrd1>");  // another program's
  EXPECT_THAT(mos::tune::weigh_captions(dataset({"a <TOK>"}), how, tokenizer), IsEmpty());
}

TEST(CaptionCheck, AConceptThatIsGluedToSomethingIsNotCalledMissing) {
  const auto said = [](const std::string& caption) {
    return refusal([&] { mos::tune::check_captions(dataset({caption}), options({"qqa", "qqb"})); });
  };
  for (const char* caption : {"\u732b<TOK>\u732b", "a <TOK>s", "x<TOK>", "\u732bqqa qqb\u732b"}) {
    EXPECT_THAT(said(caption),
                AllOf(HasSubstr("captions of 0 the concept is glued to other letters"),
                      Not(HasSubstr("lack"))))
        << caption;
  }
  EXPECT_THAT(said("\u200b<TOK>"), HasSubstr("glued to an invisible character, U+200B"));
  EXPECT_THAT(said("\ufeff<TOK> on grass"), HasSubstr("an invisible character, U+FEFF"));
  EXPECT_THAT(said("a\u00a0<TOK>"), HasSubstr("glued to a blank, U+00A0"));
  EXPECT_THAT(said("<TOK>\u200d"), HasSubstr("an invisible character, U+200D"));
  for (const char* caption : {"\u732bqqa", "xqqa qqb", "qqaqqb"}) {
    EXPECT_THAT(said(caption), HasSubstr("lack the concept")) << caption;
  }
  EXPECT_EQ(said("x<TOK> and qqa qqb"), "");
}

TEST(CaptionLengths, WithoutCommasNoAdviceIsAboutShuffling) {
  auto how = options();
  how.captions.shuffle = true;
  const auto said = [&](const std::vector<std::string>& captions) {
    return refusal([&] { warnings(dataset(captions), how); });
  };
  const auto long_one = cats(80) + " <TOK>", loose = "a photo, a <TOK>," + cats(73);
  for (const auto& caption : {long_one, "a, b," + long_one, long_one + ", b"}) {
    EXPECT_THAT(said({caption}), AllOf(HasSubstr("0 the concept stands behind the 77 tokens"),
                                       HasSubstr("at the beginning"), Not(HasSubstr("shuffle"))))
        << caption;
  }
  EXPECT_THAT(said({long_one, loose}),
              AllOf(HasSubstr("captions of 0 the concept stands"),
                    HasSubstr("captions of 1 the concept can stand"), HasSubstr("shuffle false")));
  how.captions.keep = 0;
  EXPECT_THAT(said({"<TOK>," + cats(75)}), HasSubstr("--keep 1, or --shuffle false"));
}

}  // namespace
