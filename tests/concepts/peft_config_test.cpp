#include "mos/concepts/peft_config.h"

#include <gmock/gmock.h>

#include "mos/base/error.h"

namespace {

using mos::Json;
using mos::concepts::PeftConfig;
using testing::HasSubstr;

constexpr const char* kPeftQuery = "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q";
constexpr const char* kCrossQuery = "down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_q";
constexpr const char* kLateQuery = "up_blocks.10.attentions.0.transformer_blocks.0.attn1.to_q";

PeftConfig config(const char* text) { return {mos::parse_json(text, "test"), "test"}; }

/// alpha of a layer: the scale at rank 1.
double alpha(const PeftConfig& peft, const char* layer) { return peft.scale(layer, 1); }

// What is expected here is what peft 0.17 gives: get_pattern_key(alpha_pattern.keys(), layer).

TEST(PeftPatterns, APartOfANameIsForAllThatEndsWithIt) {
  const auto peft = config(R"({"lora_alpha": 16, "alpha_pattern": {"attn1.to_q": 8}})");
  EXPECT_EQ(alpha(peft, kPeftQuery), 8.0);
  EXPECT_EQ(alpha(peft, kCrossQuery), 16.0);
  EXPECT_EQ(alpha(peft, "other_attn1.to_q"), 16.0);  // no dot before it
  EXPECT_EQ(alpha(peft, "attn1.to_q"), 8.0);
  EXPECT_EQ(alpha(peft, "x.attn1_to_q"), 8.0);  // "." is any letter
}

TEST(PeftPatterns, OfPatternsThatOverlapTheFirstOfTheFileCounts) {
  const auto wide = config(R"({"alpha_pattern": {"to_q": 2, "attn1.to_q": 3}})");
  EXPECT_EQ(alpha(wide, kPeftQuery), 2.0);
  const auto narrow = config(R"({"alpha_pattern": {"attn1.to_q": 3, "to_q": 2}})");
  EXPECT_EQ(alpha(narrow, kPeftQuery), 3.0);
  EXPECT_EQ(alpha(narrow, kCrossQuery), 2.0);
}

TEST(PeftPatterns, RegularExpressionsAreOnes) {
  const auto peft = config(R"({"lora_alpha": 1, "alpha_pattern": {
      "^down_blocks\\..*attn1\\.to_[qk]": 2, "up_blocks\\.\\d+\\..*\\.to_q": 3,
      "(attn1|attn2)\\.to_out\\.0": 4}})");
  EXPECT_EQ(alpha(peft, kPeftQuery), 2.0);
  EXPECT_EQ(alpha(peft, kLateQuery), 3.0);
  EXPECT_EQ(alpha(peft, "mid.attn2.to_out.0"), 4.0);
  EXPECT_EQ(alpha(peft, kCrossQuery), 1.0);
  EXPECT_EQ(alpha(peft, "x.down_blocks.0.attn1.to_q"), 1.0);  // "^" is the very beginning
}

TEST(PeftPatterns, RanksHavePatternsOfTheirOwn) {
  const auto peft = config(R"({"r": 4, "lora_alpha": 8, "rank_pattern": {"attn1.to_q": 16},
                               "alpha_pattern": {"attn2.to_q": 2}})");
  EXPECT_EQ(peft.rank(kPeftQuery), 16);
  EXPECT_EQ(peft.rank(kCrossQuery), 4);
  EXPECT_EQ(peft.scale(kPeftQuery, 16), 0.5);
  EXPECT_EQ(peft.scale(kCrossQuery, 4), 0.5);
  EXPECT_EQ(config("{}").rank(kPeftQuery), 0);
}

TEST(PeftPatterns, WhatIsNotSaidIsPeftsDefault) {
  EXPECT_EQ(config("{}").scale(kPeftQuery, 4), 2.0);  // lora_alpha 8
  EXPECT_EQ(config(R"({"lora_alpha": 16, "use_rslora": true})").scale(kPeftQuery, 4), 8.0);
  EXPECT_EQ(config(R"({"peft_type": "LOHA", "alpha": 2})").scale(kPeftQuery, 4), 0.5);
}

std::string refusal(const std::string& text) {
  try {
    config(text.c_str());
  } catch (const mos::Error& error) {
    return error.what();
  }
  return "was taken";
}

TEST(PeftPatterns, WhatIsNoExpressionIsRefused) {
  EXPECT_THAT(refusal(R"({"alpha_pattern": {"attn1(": 8}})"), HasSubstr("round brackets"));
  EXPECT_THAT(refusal(R"({"alpha_pattern": {"attn1": "eight"}})"), HasSubstr("attn1"));
  EXPECT_THAT(refusal(R"({"alpha_pattern": [1]})"), HasSubstr("alpha_pattern"));
  for (const char* rank : {"-4", "0.5", "1e30", "\"x\"", "-1"}) {
    EXPECT_THAT(refusal("{\"r\": " + std::string(rank) + "}"), HasSubstr("test: \"r\" is")) << rank;
    EXPECT_THAT(refusal("{\"rank_pattern\": {\"to_q\": " + std::string(rank) + "}}"),
                HasSubstr("test: \"to_q\" is"))
        << rank;
  }
  EXPECT_THAT(refusal(R"({"lora_alpha": "x"})"), HasSubstr("test: \"lora_alpha\" is"));
  EXPECT_THAT(refusal("[]"), HasSubstr("JSON object"));
  const std::string deep(20000, '(');
  EXPECT_THAT(refusal(R"({"rank_pattern": {")" + deep + R"(": 8}})"), HasSubstr("20000 letters"));
}

TEST(PeftPatterns, WhatPythonSaysOtherwiseMeansTheSame) {
  const auto matches = [](const std::string& pattern, const char* layer) {
    const Json patterns = {{"lora_alpha", 1}, {"alpha_pattern", {{pattern, 2}}}};
    return alpha(PeftConfig(patterns, "test"), layer) == 2.0;
  };
  EXPECT_TRUE(matches(R"(to_q\Z)", kPeftQuery));
  EXPECT_TRUE(matches(R"(\Adown.*to_q)", kPeftQuery));
  EXPECT_FALSE(matches(R"(\Aattn1.*to_q)", kPeftQuery));
  EXPECT_TRUE(matches(R"(up_blocks\.\d{,2}\..*to_q)", kLateQuery));
  EXPECT_FALSE(matches(R"(up_blocks\.\d{,1}\..*to_q)", kLateQuery));
  EXPECT_TRUE(matches(R"(attn[1]\.(?:to_q|to_k)\b)", kPeftQuery));
  EXPECT_TRUE(matches(R"((?=.*attn1).*[\w]+_[^kv])", kPeftQuery));
}

TEST(PeftPatterns, ABraceThatBeginsNoCountIsALetter) {
  const auto matches = [](const std::string& pattern, const char* layer) {
    const Json patterns = {{"lora_alpha", 1}, {"alpha_pattern", {{pattern, 2}}}};
    return alpha(PeftConfig(patterns, "test"), layer) == 2.0;
  };
  for (const char* letters : {"to_k{", "to_k{a}", "{to_k", "to_k{}", "to_k{2", "to_k{2,a}", "{"}) {
    EXPECT_TRUE(matches(letters, letters)) << letters;
    EXPECT_FALSE(matches(letters, "to_k")) << letters;
  }
  for (const char* count : {"x{2}", "x{2,}", "x{,2}", "x{1,2}", "x{,}"}) {
    EXPECT_TRUE(matches(count, "xx")) << count;
    EXPECT_FALSE(matches(count, count)) << count;
  }
}

TEST(PeftPatterns, WhatDoesNotFitIsSaidInOurWords) {
  const auto said = [](const std::string& pattern) {
    const Json config = {{"alpha_pattern", {{pattern, 2}}}};
    return refusal(config.dump());
  };
  const std::pair<const char*, const char*> cases[] = {
      {"(a{1000}){1000}", "too large"}, {"a{99999999999999}", "too large"},
      {"*", "nothing can be repeated"}, {"a)", "round brackets do not fit"},
      {"a{2,1}", "a count in {}"},      {"[z-a]", "a range in a set"},
      {"\\x1", "a backslash"}};
  for (const auto& [pattern, fault] : cases) {
    EXPECT_THAT(said(pattern), testing::AllOf(HasSubstr("is not read here: "), HasSubstr(fault),
                                              HasSubstr("name the layers one by one")))
        << pattern;
  }
}

TEST(PeftPatterns, WhatPythonAloneReadsIsRefusedByName) {
  for (const std::string what :
       {"(?<", "(?P", "(?i", "[[:", "[]", "\\a", "\\N", "\\1", "\\12", "\\164"}) {
    const Json config = {{"alpha_pattern", {{what + "x", 2}}}};
    EXPECT_THAT(refusal(config.dump()), HasSubstr("\"" + what + "\"")) << what;
  }
  EXPECT_THAT(refusal(R"({"alpha_pattern": {"[^]a]": 2}})"), HasSubstr("Python"));
  EXPECT_THAT(refusal(R"({"alpha_pattern": {"(.*)\\1": 2}})"), HasSubstr("has \"\\1\""));
  EXPECT_THAT(refusal(R"({"alpha_pattern": {"[\\1641]": 2}})"), HasSubstr("has \"\\164\""));
}

TEST(PeftPatterns, OneThatIsCutOffAnywhereIsReadOrRefused) {
  const std::string whole = R"(\Adown[^\]a-z]*\.(?:to_q|to_k)\d{,2}\w[\b_]\Z)";
  for (std::size_t size = 1; size < whole.size(); ++size) {
    const Json patterns = {{"alpha_pattern", {{whole.substr(0, size), 2}}}};
    try {
      PeftConfig(patterns, "test");
    } catch (const mos::Error& error) {
      EXPECT_EQ(error.kind(), mos::ErrorKind::kFormat) << error.what();
    }
  }
  for (const std::string open : {"to_[qk", "[", "[^", "to_q\\", "[\\]", "[\\"}) {
    const Json config = {{"alpha_pattern", {{open, 2}}}};
    EXPECT_THAT(refusal(config.dump()), HasSubstr("its end is inside")) << open;
  }
}

TEST(PeftConfig, WhatIsNoRankOrNoTypeIsRefused) {
  EXPECT_THAT(refusal(R"({"r": 0})"), HasSubstr("a rank"));
  EXPECT_THAT(refusal(R"({"peft_type": "IA3"})"), HasSubstr("of the peft_type IA3;"));
}

TEST(PeftPatterns, NoExpressionTakesForever) {
  const auto peft = config(R"({"lora_alpha": 1, "alpha_pattern": {"(a|aa|a*)*b": 2}})");
  std::string letters(300, 'a');
  EXPECT_EQ(alpha(peft, letters.c_str()), 1.0);
  letters += 'b';
  EXPECT_EQ(alpha(peft, letters.c_str()), 2.0);
}

TEST(PeftConfig, MetadataThatIsNoObjectIsRefused) {
  for (const char* text : {"\"x\"", "[]", "8", "null", "{"}) {
    try {
      mos::concepts::peft_configs({{mos::concepts::kAdapterMetadata, text}}, "a.safetensors");
      ADD_FAILURE() << text << " was taken";
    } catch (const mos::Error& error) {
      EXPECT_EQ(error.kind(), mos::ErrorKind::kFormat);
      EXPECT_THAT(error.what(), HasSubstr("a.safetensors: metadata \"lora_adapter_metadata\" is"));
    }
  }
}

TEST(PeftPatterns, AnAdapterThatAlsoChangesTheBaseIsRefused) {
  EXPECT_THAT(refusal(R"({"init_lora_weights": "pissa_niter_16"})"), HasSubstr("pissa_niter_16"));
  EXPECT_EQ(refusal(R"({"init_lora_weights": "gaussian"})"), "was taken");
  EXPECT_EQ(refusal(R"({"init_lora_weights": true})"), "was taken");
}

}  // namespace
