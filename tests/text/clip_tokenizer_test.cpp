#include "mos/text/clip_tokenizer.h"

#include <fmt/format.h>
#include <gmock/gmock.h>

#include <chrono>

#include "mos/base/error.h"
#include "mos/base/file.h"
#include "mos/base/json.h"
#include "tests/support/temp_dir.h"

namespace {

using mos::ErrorKind;
using mos::Json;
using mos::text::CLIPTokenizer;
using testing::ElementsAre;
using testing::HasSubstr;

/// A vocabulary of 15 tokens: c a t s and their ends, three merges, and the special tokens.
Json small_vocabulary() {
  return {{"c", 0},       {"a", 1},      {"t", 2},      {"s", 3},      {"c</w>", 4},
          {"a</w>", 5},   {"t</w>", 6},  {"s</w>", 7},  {"ca", 8},     {"cat</w>", 9},
          {"at</w>", 10}, {"!</w>", 11}, {"<bos>", 12}, {"<eos>", 13}, {"<pad>", 14}};
}

class SmallTokenizer : public testing::Test {
 protected:
  SmallTokenizer() {
    write("vocab.json", small_vocabulary().dump());
    write("merges.txt", "#version: 0.2\nc a\nca t</w>\na t</w>\nno where\n");
    write("tokenizer_config.json",
          R"({"bos_token": {"content": "<bos>"}, "eos_token": "<eos>", "pad_token": "<eos>",
              "unk_token": "<eos>", "model_max_length": 6})");
    write("special_tokens_map.json", R"({"pad_token": "<pad>"})");
  }
  void write(const std::string& name, const std::string& content) const {
    mos::write_text_file(folder_ / name, content);
  }
  CLIPTokenizer load() const { return CLIPTokenizer::from_directory(folder_.path()); }
  std::string message() const {
    try {
      load();
    } catch (const mos::Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::kFormat);
      return error.what();
    }
    return "";
  }

  mos::TempDir folder_;
};

TEST_F(SmallTokenizer, TakesEveryIdFromItsFiles) {
  const auto tokenizer = load();
  EXPECT_EQ(tokenizer.bos_id(), 12);
  EXPECT_EQ(tokenizer.eos_id(), 13);
  EXPECT_EQ(tokenizer.pad_id(), 14);
  EXPECT_EQ(tokenizer.model_max_length(), 6);
  EXPECT_EQ(tokenizer.vocab_size(), 15);
  EXPECT_EQ(tokenizer.token_id("cat</w>"), 9);
  EXPECT_EQ(tokenizer.token_id("cat"), std::nullopt);
}

TEST_F(SmallTokenizer, MergesByRankAndMarksTheEndsOfWords) {
  const auto tokenizer = load();
  EXPECT_THAT(tokenizer.encode("cat"), ElementsAre(12, 9, 13));
  EXPECT_THAT(tokenizer.encode_words("  Cat\tCATS!"), ElementsAre(9, 8, 2, 7, 11));
  EXPECT_THAT(tokenizer.encode_words("sat"), ElementsAre(3, 10));
  EXPECT_THAT(tokenizer.encode(""), ElementsAre(12, 13));
}

TEST_F(SmallTokenizer, GivesTheUnknownIdToBytesThatTheVocabularyLacks) {
  EXPECT_THAT(load().encode_words("z é"), ElementsAre(13, 13, 13));
}

TEST_F(SmallTokenizer, PadsAndCutsToTheLengthOfTheModel) {
  const auto tokenizer = load();
  EXPECT_THAT(tokenizer.encode_padded("cat"), ElementsAre(12, 9, 13, 14, 14, 14));
  EXPECT_THAT(tokenizer.encode_padded("cat cat cat cat"), ElementsAre(12, 9, 9, 9, 9, 13));
  EXPECT_THAT(tokenizer.encode_padded("cat cat cat cat cat cat"), ElementsAre(12, 9, 9, 9, 9, 13));
}

TEST_F(SmallTokenizer, CutsAddedTokensOutTheLongestFirst) {
  auto tokenizer = load();
  EXPECT_EQ(tokenizer.add_token("<new1>"), 15);
  EXPECT_EQ(tokenizer.add_token("<new1><new1>"), 16);
  EXPECT_EQ(tokenizer.vocab_size(), 17);
  EXPECT_EQ(tokenizer.base_vocab_size(), 15);
  EXPECT_THAT(tokenizer.encode_words("cat<new1>cat"), ElementsAre(9, 15, 9));
  EXPECT_THAT(tokenizer.encode_words("<new1><new1><new1>"), ElementsAre(16, 15));
  EXPECT_THAT(tokenizer.encode_words("<bos> <eos>"), ElementsAre(12, 13));
}

TEST_F(SmallTokenizer, RefusesToAddWhatIsTaken) {
  auto tokenizer = load();
  tokenizer.add_token("<new1>");
  for (const std::string token : {"<new1>", "<eos>", "cat</w>", ""}) {
    EXPECT_THROW(tokenizer.add_token(token), mos::Error) << token;
  }
  EXPECT_EQ(tokenizer.vocab_size(), 16);
}

TEST_F(SmallTokenizer, CopiesHaveTheirOwnAddedTokens) {
  const auto original = load();
  auto copy = original;
  copy.add_token("<new1>");
  EXPECT_EQ(original.token_id("<new1>"), std::nullopt);
  EXPECT_EQ(original.vocab_size(), 15);
}

TEST_F(SmallTokenizer, ComesBackFromDiskWithItsAddedTokens) {
  auto tokenizer = load();
  tokenizer.add_token("<new1>");
  tokenizer.add_token("<new0>");
  tokenizer.save(folder_ / "saved");
  const auto copy = CLIPTokenizer::from_directory(folder_ / "saved");
  EXPECT_EQ(copy.added_tokens(), tokenizer.added_tokens());
  EXPECT_EQ(copy.pad_id(), 14);
  EXPECT_EQ(copy.model_max_length(), 6);
  const std::string text = "cats <new0><new1> sat!";
  EXPECT_EQ(copy.encode_padded(text), tokenizer.encode_padded(text));
  copy.save(folder_ / "again");
  for (const char* name : {"vocab.json", "merges.txt", "tokenizer_config.json",
                           "special_tokens_map.json", "added_tokens.json"}) {
    EXPECT_EQ(mos::read_text_file(folder_ / "again" / name),
              mos::read_text_file(folder_ / "saved" / name));
  }
}

TEST_F(SmallTokenizer, ReadsTheAddedTokensOfNewerConfigurations) {
  write("tokenizer_config.json",
        R"({"bos_token": "<bos>", "eos_token": "<eos>", "unk_token": "<eos>",
            "model_max_length": 1000000000000000019884624838656,
            "added_tokens_decoder": {"12": {"content": "<bos>"}, "15": {"content": "<x>"}}})");
  const auto tokenizer = load();
  EXPECT_EQ(tokenizer.token_id("<x>"), 15);
  EXPECT_EQ(tokenizer.model_max_length(), 77);
  EXPECT_THAT(tokenizer.encode_words("a<x>"), ElementsAre(5, 15));
}

TEST_F(SmallTokenizer, IsReadFromTheOneFileOfNewerFolders) {
  const auto whole = load();
  Json json = {{"version", "1.0"},
               {"added_tokens",
                {{{"id", 12}, {"content", "<bos>"}, {"special", true}},
                 {{"id", 15}, {"content", "<x>"}, {"special", false}}}},
               {"model",
                {{"type", "BPE"},
                 {"vocab", small_vocabulary()},
                 {"merges", {"c a", "ca t</w>", "a t</w>", "no where"}}}}};
  std::filesystem::remove(folder_ / "vocab.json");
  std::filesystem::remove(folder_ / "merges.txt");
  const std::string text = "  Cat\tCATS! sat z";
  const auto pairs = Json::parse(R"([["c", "a"], ["ca", "t</w>"], ["a", "t</w>"]])");
  for (const auto& merges : {json["model"]["merges"], pairs}) {
    json["model"]["merges"] = merges;
    write("tokenizer.json", json.dump());
    EXPECT_EQ(load().encode(text), whole.encode(text));
    EXPECT_EQ(load().token_id("<x>"), 15);
    EXPECT_EQ(load().pad_id(), 14) << "the other files still count";
  }
  for (const char* wrong : {R"([1])", R"([["c", "a", "t"]])", R"({"c": "a"})"}) {
    json["model"]["merges"] = Json::parse(wrong);
    write("tokenizer.json", json.dump());
    EXPECT_THAT(message(), HasSubstr("tokenizer.json")) << wrong;
  }
  json["model"]["type"] = "WordPiece";
  write("tokenizer.json", json.dump());
  EXPECT_THAT(message(), HasSubstr("expected BPE"));
  write("tokenizer.json", "[]");
  EXPECT_THAT(message(), HasSubstr("JSON object"));
}

TEST_F(SmallTokenizer, RefusesFilesThatContradictEachOther) {
  write("added_tokens.json", R"({"<x>": 3})");
  EXPECT_THAT(message(), HasSubstr("taken"));
  write("added_tokens.json", R"({"<x>": 15, "<y>": 15})");
  EXPECT_THAT(message(), HasSubstr("taken"));
  write("added_tokens.json", R"({"<eos>": 15})");
  EXPECT_THAT(message(), HasSubstr("two ids"));
  write("added_tokens.json", "{}");
  write("special_tokens_map.json", R"({"eos_token": "<end>"})");
  EXPECT_THAT(message(), HasSubstr("\"<end>\" is not in the vocabulary"));
  write("special_tokens_map.json", R"({"model_max_length": 2})");
  EXPECT_THAT(message(), HasSubstr("model_max_length"));
}

TEST_F(SmallTokenizer, RefusesIdsThatNoVocabularyHas) {
  for (const char* id : {"9223372036854775807", "-1", "100000001", "15.5", "\"15\"", "null"}) {
    write("added_tokens.json", fmt::format(R"({{"<x>": {}}})", id));
    EXPECT_THAT(message(), HasSubstr("\"<x>\"")) << id;
  }
  write("added_tokens.json", R"({"": 15})");
  EXPECT_THAT(message(), HasSubstr("has no text"));
  write("added_tokens.json", "{}");
  for (const char* id : {"", "x", "15 ", "9223372036854775808", "-1"}) {
    write("tokenizer_config.json", fmt::format(R"({{"bos_token": "<bos>", "eos_token": "<eos>",
          "unk_token": "<eos>", "added_tokens_decoder": {{"{}": {{"content": "<x>"}}}}}})",
                                               id));
    EXPECT_NE(message(), "") << id;
  }
}

/// The definition of byte pair encoding, one pass over all symbols for each merge.
std::vector<std::int64_t> encoded_by_passes(const CLIPTokenizer& tokenizer,
                                            const std::vector<std::string>& merges,
                                            const std::string& word) {
  std::vector<std::string> symbols;
  for (const char c : word) symbols.emplace_back(1, c);
  symbols.back() += "</w>";
  for (bool merged = true; merged;) {
    merged = false;
    for (const auto& merge : merges) {
      const auto left = merge.substr(0, merge.find(' ')), right = merge.substr(left.size() + 1);
      std::vector<std::string> next;
      for (std::size_t i = 0; i < symbols.size(); ++i) {
        const bool fits = i + 1 < symbols.size() && symbols[i] == left && symbols[i + 1] == right;
        next.push_back(fits ? left + right : symbols[i]);
        if (fits) ++i;
      }
      if (next.size() == symbols.size()) continue;
      symbols = next;
      merged = true;
      break;  // the pair with the lowest rank first, again
    }
  }
  std::vector<std::int64_t> ids;
  for (const auto& symbol : symbols) ids.push_back(tokenizer.token_id(symbol).value());
  return ids;
}

TEST(BytePairEncoding, IsTheOneOfThePassesInWhateverOrderTheMergesAre) {
  const std::vector<std::string> merges = {"ab c", "a b",   "b a",     "aa a", "a a</w>",
                                           "c c",  "cc cc", "b b</w>", "a a",  "abc a"};
  CLIPTokenizer::Texts texts;
  Json vocabulary = Json::object();
  const auto add = [&](const std::string& token) {
    if (!vocabulary.contains(token)) vocabulary[token] = vocabulary.size();
  };
  for (const char* c : {"a", "b", "c"}) {
    add(c);
    add(std::string(c) + "</w>");
  }
  texts["merges.txt"] = "#version: 0.2\n";
  for (const auto& merge : merges) {
    texts["merges.txt"] += merge + "\n";
    add(merge.substr(0, merge.find(' ')) + merge.substr(merge.find(' ') + 1));
  }
  add("<|startoftext|>");
  add("<|endoftext|>");
  texts["vocab.json"] = vocabulary.dump();
  const auto tokenizer = CLIPTokenizer::from_texts(texts, "memory");
  std::uint32_t state = 1;
  for (int i = 0; i < 2000; ++i) {
    std::string word;
    for (int length = 1 + i % 14; length > 0; --length) {
      state = state * 1664525 + 1013904223;
      word += static_cast<char>('a' + (state >> 16) % 3);
    }
    EXPECT_EQ(tokenizer.encode_words(word), encoded_by_passes(tokenizer, merges, word)) << word;
  }
}

TEST(BytePairEncoding, ALongWordTakesNoQuadraticTime) {
  std::string word;
  for (int i = 0; i < 300'000; ++i) word += "abcdefghijklmnop"[(i * 7 + i / 5) % 16];
  const auto start = std::chrono::steady_clock::now();
  EXPECT_GT(CLIPTokenizer::clip().encode(word).size(), 10'000U);
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(20));
}

TEST_F(SmallTokenizer, RefusesFilesThatAreNoVocabulary) {
  write("merges.txt", "#version: 0.2\nc a\nca\n");
  EXPECT_THAT(message(), HasSubstr("line 3"));
  write("vocab.json", R"({"a": -1})");
  EXPECT_THAT(message(), HasSubstr("impossible id"));
  write("vocab.json", "[]");
  EXPECT_THAT(message(), HasSubstr("vocab.json"));
  write("vocab.json", "{\"a\":");
  EXPECT_THAT(message(), HasSubstr("vocab.json"));
  EXPECT_THROW(CLIPTokenizer::from_directory(folder_ / "nowhere"), mos::Error);
}

}  // namespace
