#include "mos/fuse/sources.h"

#include <gmock/gmock.h>

#include "mos/base/error.h"
#include "mos/base/file.h"
#include "mos/concepts/concept_writer.h"
#include "tests/support/errors.h"
#include "tests/support/temp_dir.h"

namespace {

using enum mos::checkpoint::Part;

using mos::ErrorKind;
using mos::fuse::ConceptSource;
using mos::fuse::parse_rename;
using mos::fuse::Rename;
using mos::test::message_of;
using testing::HasSubstr;

ConceptSource source(const std::string& name, const std::vector<std::string>& words) {
  ConceptSource made{.name = name};
  for (const auto& word : words) made.delta.words.push_back({word, torch::ones({2, 3})});
  return made;
}

TEST(Words, TwoConceptsWithOneWordAreRefusedWithTheWayOut) {
  const std::vector sources{source("cat", {"<a1>", "<a2>"}), source("dog", {"<b1>", "<a2>"})};
  const auto message = message_of(ErrorKind::kUsage, [&] { mos::fuse::check_words(sources, {}); });
  EXPECT_THAT(message, HasSubstr("cat and dog both use the word <a2>"));
  EXPECT_THAT(message, HasSubstr("--rename \"2:<a2>=<new1>\""));
  const std::vector twice{source("cat", {"<a1>", "<a2>"}), source("dog", {"<a1>", "<a2>"})};
  const auto both = message_of(ErrorKind::kUsage, [&] { mos::fuse::check_words(twice, {}); });
  EXPECT_THAT(both, HasSubstr("both use the words <a1> and <a2>"));
  EXPECT_THAT(both, HasSubstr("--rename \"2:<a1>=<new1>,2:<a2>=<new2>\""));
}

TEST(Words, AConceptWithoutWordsNeedsAPhrase) {
  auto wordless = source("plain", {});
  EXPECT_THAT(message_of(ErrorKind::kUsage, [&] { mos::fuse::check_words({wordless}, {}); }),
              HasSubstr("plain has no words"));
  wordless.phrase = "dog";
  EXPECT_NO_THROW(mos::fuse::check_words({wordless}, {}));
}

TEST(SharedTriggers, OneThatAnswersWheneverTheOtherIsCalledIsSaid) {
  const auto sentences = [](const std::string& one, const std::string& other) {
    std::vector sources{source("A", {}), source("B", {})};
    sources[0].phrase = one;
    sources[1].phrase = other;
    return mos::fuse::shared_triggers(sources);
  };
  using testing::ElementsAre;
  using testing::IsEmpty;
  EXPECT_THAT(sentences("sks bear", "sks bear"),
              ElementsAre(HasSubstr("A and B both answer to \"sks bear\"")));
  EXPECT_THAT(sentences("sks bear", "Bear, SKS"), ElementsAre(HasSubstr("both answer")));
  EXPECT_THAT(sentences("mycat cat", "cat"), ElementsAre(HasSubstr("answer to \"cat\"")));
  EXPECT_THAT(sentences("<a1> <a2>", "<a1> <a2> man"), ElementsAre(HasSubstr("<a1> <a2>\"")));
  EXPECT_THAT(sentences("mycat cat", "hero cat"), IsEmpty());
  EXPECT_THAT(sentences("<a1> <a2>", "<b1> <b2>"), IsEmpty());
  EXPECT_THAT(mos::fuse::shared_triggers(
                  {source("cat", {"<a1>"}), source("dog", {"<b1>"}), source("fox", {"<c1>"})}),
              IsEmpty());
}

TEST(Rename, ReachesTheLastConceptWithTheWordOrTheNumberedOne) {
  std::vector sources{source("cat", {"<a1>"}), source("dog", {"<a1>"})};
  sources[1].phrase = "<a1> dog";
  mos::fuse::rename_words(sources, std::array{parse_rename("<a1>=<b1>")});
  EXPECT_EQ(sources[0].delta.words[0].word, "<a1>");
  EXPECT_EQ(sources[1].delta.words[0].word, "<b1>");
  EXPECT_EQ(sources[1].prompt_phrase(), "<b1> dog");
  EXPECT_NO_THROW(mos::fuse::check_words(sources, {}));

  mos::fuse::rename_words(sources, std::array{parse_rename("1:<a1>=<c1>")});
  EXPECT_EQ(sources[0].prompt_phrase(), "<c1>");
}

TEST(Rename, ReachesWordsWithBlanksAndEqualsSigns) {
  // Embeddings are called as their files are.
  std::vector sources{source("cat", {"my cat"}), source("dog", {"a=b"}), source("fox", {"c:d"})};
  mos::fuse::rename_words(sources, std::array{parse_rename("my cat=<a>"), parse_rename("a=b=<b>"),
                                              parse_rename("3:c:d=<c>")});
  EXPECT_EQ(sources[0].delta.words[0].word, "<a>");
  EXPECT_EQ(sources[1].delta.words[0].word, "<b>");
  EXPECT_EQ(sources[2].delta.words[0].word, "<c>");
}

TEST(Rename, RefusesWhatItCannotDo) {
  for (const char* text : {"", "<a>", "<a>=", "=<b>", "<a>=<b c>"}) {
    EXPECT_THAT(message_of(ErrorKind::kUsage, [&] { parse_rename(text); }),
                HasSubstr("is no rename"))
        << text;
  }
  std::vector sources{source("cat", {"<a1>"})};
  EXPECT_THAT(
      message_of(ErrorKind::kUsage,
                 [&] { mos::fuse::rename_words(sources, std::array{parse_rename("<x>=<y>")}); }),
      HasSubstr("cannot rename <x>"));
  EXPECT_THROW(mos::fuse::rename_words(sources, std::array{parse_rename("2:<a1>=<y>")}),
               mos::Error);
}

TEST(LoadSources, TriggerWordsStandBehindAnEqualsSign) {
  const mos::TempDir folder;
  mos::concepts::ConceptDelta lora;
  lora.updates[kUNet]["mid_block.attentions.0.proj_in"] =
      mos::concepts::LowRank{torch::ones({1, 4}), torch::ones({4, 1})};
  lora.metadata["ss_tag_frequency"] = R"({"10_dog": {"sks dog": 9, "grass": 2}})";
  const auto file = (folder / "dog.safetensors").string();
  mos::concepts::write_concept(file, lora, mos::concepts::ConceptFormat::kKohya);
  const auto sources = mos::fuse::load_sources(std::array{file + "=sks dog"});
  EXPECT_EQ(sources[0].prompt_phrase(), "sks dog");
  EXPECT_EQ(sources[0].name, "dog");
  EXPECT_NO_THROW(mos::fuse::check_words(sources, {}));
  const auto nameless = mos::fuse::load_sources(std::array{file});
  EXPECT_THAT(message_of(ErrorKind::kUsage, [&] { mos::fuse::check_words(nameless, {}); }),
              testing::AllOf(HasSubstr("=trigger words"), HasSubstr("sks dog")));
}

TEST(LoadSources, AWordThatAConceptDoesNotHaveIsSaidWithThoseThatItHas) {
  const mos::TempDir folder;
  auto made = source("cat", {"<cat1>"});
  made.delta.updates[kUNet]["mid_block.attentions.0.proj_in"] =
      mos::concepts::LowRank{torch::ones({1, 4}), torch::ones({4, 1})};
  const auto refusal = [&](const std::string& name) {
    const auto file = (folder / name).string();
    mos::concepts::save_concept(file, made.delta);
    const std::string given = file + "=<dog1> dog";
    const auto said =
        message_of(ErrorKind::kMismatch, [&] { mos::fuse::load_sources(std::array{given}); });
    EXPECT_THAT(said, testing::AllOf(HasSubstr(file + ": "), HasSubstr("no word <dog1>")));
    EXPECT_EQ(said.find(given), said.npos) << said;  // who filled in a form wrote no FILE=WORDS
    return said;
  };
  EXPECT_THAT(refusal("cat.safetensors"), HasSubstr("its own are \"<cat1>\""));
  made.delta.words.clear();
  made.delta.metadata["ss_tag_frequency"] = R"({"10_dog": {"sks dog": 9}})";
  EXPECT_THAT(refusal("dog.safetensors"), HasSubstr("plain words call it; it was trained on"));
}

TEST(LoadSources, AConceptIsCalledAsItsOwnFileSays) {
  const mos::TempDir folder;
  const auto write = [&](const char* name, std::vector<std::string> words, const char* phrase) {
    auto made = source(name, words);
    made.delta.updates[kUNet]["mid_block.attentions.0.proj_in"] =
        mos::concepts::LowRank{torch::ones({1, 4}), torch::ones({4, 1})};
    made.delta.metadata["phrase"] = phrase;
    mos::concepts::save_concept(folder / name, made.delta);
    return (folder / name).string();
  };
  const std::string files[] = {write("cat.safetensors", {"<cat1>"}, "<cat1> cat"),
                               write("dog.safetensors", {}, "sks dog"),
                               write("cow.safetensors", {"<cow1>"}, "<gone> cow")};
  const auto sources = mos::fuse::load_sources(files);
  EXPECT_EQ(sources[0].prompt_phrase(), "<cat1> cat");
  EXPECT_EQ(sources[1].prompt_phrase(), "sks dog");
  EXPECT_EQ(sources[2].prompt_phrase(), "<cow1>");
  const std::string named[] = {files[1] + "=my dog"};
  EXPECT_EQ(mos::fuse::load_sources(named)[0].prompt_phrase(), "my dog");
}

TEST(LoadSources, WordsOfTheCommandLineDoNotThrowAwayWhatAFileTeaches) {
  const mos::TempDir folder;
  const auto file = (folder / "cat.safetensors").string();
  mos::concepts::save_concept(file, source("cat", {"<cat1>", "<cat2>"}).delta);
  for (const char* words : {"a cat", "<cat1>", "<cat1> cat"}) {
    const std::string given = file + "=" + words;
    EXPECT_THAT(message_of(ErrorKind::kUsage, [&] { mos::fuse::load_sources(std::array{given}); }),
                testing::AllOf(HasSubstr("<cat2>"), HasSubstr("=<cat1> <cat2>")));
  }
  EXPECT_EQ(mos::fuse::load_sources(std::array{file + "=<cat2> <cat1> cat"})[0].prompt_phrase(),
            "<cat2> <cat1> cat");
}

class SourceList : public testing::Test {
 protected:
  SourceList() {
    auto delta = source("cat", {"<a1>", "<a2>"}).delta;
    mos::concepts::save_concept(folder_ / "cat.safetensors", delta);
  }
  std::vector<ConceptSource> load(const std::string& json) const {
    mos::write_text_file(folder_ / "list.json", json);
    return mos::fuse::load_source_list(folder_ / "list.json");
  }
  mos::TempDir folder_;
};

TEST_F(SourceList, ReadsTheAuthorsKeys) {
  const auto sources = load(
      R"([{"lora_path": "cat.safetensors", "unet_alpha": 0.8, "text_encoder_alpha": 0.6,
           "concept_name": "<a2> <a1> cat"},
          {"lora_path": "cat.safetensors"}])");
  ASSERT_EQ(sources.size(), 2U);
  EXPECT_EQ(sources[0].scale(kUNet), 0.8);
  EXPECT_EQ(sources[0].scale(kTextEncoder), 0.6);
  EXPECT_EQ(sources[0].prompt_phrase(), "<a2> <a1> cat");
  EXPECT_EQ(sources[0].delta.words[0].word, "<a2>");
  EXPECT_EQ(sources[1].scale(kUNet), 1.0);
  EXPECT_EQ(sources[1].prompt_phrase(), "<a1> <a2>");
  EXPECT_NE(sources[0].name, sources[1].name);
}

TEST_F(SourceList, RefusesListsThatAreNone) {
  message_of(ErrorKind::kFormat, [&] { load("{}"); });
  message_of(ErrorKind::kFormat, [&] { load("[]"); });
  message_of(ErrorKind::kFormat, [&] { load("[1]"); });
  message_of(ErrorKind::kFormat, [&] { load("[{}]"); });
  message_of(ErrorKind::kIo, [&] { load(R"([{"lora_path": "none.safetensors"}])"); });
  EXPECT_THAT(
      message_of(ErrorKind::kMismatch,
                 [&] { load(R"([{"lora_path": "cat.safetensors", "concept_name": "<z1>"}])"); }),
      HasSubstr("<z1>"));
}

}  // namespace
