#include <gmock/gmock.h>

#include <map>
#include <string>
#include <vector>

#include "mos/base/json.h"
#include "mos/text/clip_tokenizer.h"
#include "tests/support/golden.h"

namespace {

using mos::Json;
using mos::text::CLIPTokenizer;
using Ids = std::vector<std::int64_t>;

/// Where versions of the reference disagree, the one that official installs use.
Ids expected_ids(const Json& item, const std::string& key) {
  const auto variant = key + ".hf_4_31plus_no_ftfy";
  return item.at(item.contains(key) ? key : variant).get<Ids>();
}

const mos::golden::Names kFiles = {"tiny_sd/tokenizer/vocab.json", "tiny_sd/tokenizer/merges.txt",
                                   "tiny_sd/tokenizer/tokenizer_config.json"};

Json json_of(const CLIPTokenizer::Texts& texts, const std::string& file) {
  return mos::parse_json(texts.at(file), file);
}

TEST(GoldenTokenizer, TheVocabularyOfTheProgramIsThatOfTheReference) {
  if (const auto why = mos::golden::missing(kFiles); !why.empty()) GTEST_SKIP() << why;
  const auto reference = CLIPTokenizer::from_directory(*mos::golden::find("tiny_sd/tokenizer"));
  const auto theirs = reference.texts();
  const auto special = json_of(theirs, "special_tokens_map.json");
  const auto ours = CLIPTokenizer::clip(special.at("pad_token")).texts();
  EXPECT_TRUE(reference.has_clip_vocabulary());
  // As EXPECT_EQ a difference would be looked for line by line, in more memory than there is.
  for (const char* file : {"vocab.json", "merges.txt"}) {
    EXPECT_TRUE(ours.at(file) == theirs.at(file)) << file;
  }
  EXPECT_EQ(json_of(ours, "special_tokens_map.json"), special);
  auto settings = json_of(ours, "tokenizer_config.json");
  settings["model_max_length"] = reference.model_max_length();
  EXPECT_EQ(settings, json_of(theirs, "tokenizer_config.json"));
  EXPECT_EQ(CLIPTokenizer::clip("!").pad_id(), 0);
}

TEST(GoldenTokenizer, EveryPromptHasTheIdsOfTheReference) {
  auto files = kFiles;
  files.emplace_back("tokenizer.json");
  if (const auto why = mos::golden::missing(files); !why.empty()) GTEST_SKIP() << why;
  const auto cases = mos::read_json_file(*mos::golden::find("tokenizer.json"));
  auto tokenizer = CLIPTokenizer::from_directory(*mos::golden::find("tiny_sd/tokenizer"));
  std::map<std::int64_t, std::string> added;
  for (const auto& [token, id] : cases.at("added_tokens").items()) {
    added[id.get<std::int64_t>()] = token;
  }
  for (const auto& [id, token] : added) {
    ASSERT_EQ(tokenizer.add_token(token), id);
  }

  for (const auto& item : cases.at("items")) {
    const auto prompt = item.at("prompt").get<std::string>();
    EXPECT_EQ(tokenizer.encode(prompt), expected_ids(item, "ids")) << Json(prompt);
    EXPECT_EQ(tokenizer.encode_padded(prompt), expected_ids(item, "ids_77")) << Json(prompt);
  }
}

}  // namespace
