#include "mos/text/prompt_tags.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "mos/base/error.h"
#include "mos/text/prompt_chunks.h"

namespace mos::text {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

TEST(LoraTags, AreTakenOutWithTheirScales) {
  const auto taken = take_lora_tags("a cat <lora:my cat:0.8>, <lyco:style> in snow <LoRA:x:-1>");
  EXPECT_EQ(taken.prompt, "a cat ,  in snow");
  EXPECT_THAT(taken.loras,
              ElementsAre(LoraTag{"my cat", 0.8}, LoraTag{"style", 1.0}, LoraTag{"x", -1.0}));
}

TEST(LoraTags, LeaveConceptWordsAndEscapedOnesAlone) {
  for (const char* prompt :
       {"a <cat1> <cat2> ", "\\<lora:x:1>", "a < b > c", "<10:30>", "x <lora:y"}) {
    const auto taken = take_lora_tags(prompt);
    EXPECT_EQ(taken.prompt, prompt);
    EXPECT_TRUE(taken.loras.empty());
  }
}

TEST(LoraTags, StandBehindSignsThatBeginNone) {
  const auto taken = take_lora_tags("a < b, 1<2 <cat1 <lora:x:0.5> c");
  EXPECT_EQ(taken.prompt, "a < b, 1<2 <cat1  c");
  EXPECT_THAT(taken.loras, ElementsAre(LoraTag{"x", 0.5}));
}

TEST(LoraTags, RefuseWhatTheyCannotMean) {
  for (const char* prompt : {"<lora:x:much>", "<lora::1>", "<lora:x:1:0.5>", "<hypernet:x:1>"}) {
    try {
      take_lora_tags(prompt);
      ADD_FAILURE() << prompt;
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::kUsage);
      EXPECT_THAT(error.what(), HasSubstr(prompt));
    }
  }
  EXPECT_EQ(take_lora_tags("<lora:x:0.5:0.5>").loras.front().scale, 0.5);
}

TEST(Choose, DrawsEveryTextAndTheSameForASeed) {
  std::set<std::string> seen;
  for (std::uint64_t seed = 0; seed < 50; ++seed) {
    const auto text = choose("a {red|{dark|light} blue|} cat", seed);
    EXPECT_EQ(choose("a {red|{dark|light} blue|} cat", seed), text);
    seen.insert(text);
  }
  EXPECT_THAT(seen, ElementsAre("a  cat", "a dark blue cat", "a light blue cat", "a red cat"));
}

TEST(Choose, LeavesBracesWithoutABarAndEscapedOnesAlone) {
  for (const char* prompt : {"a {cat}", "a } b {", "a \\{b|c\\}", "a|b"}) {
    EXPECT_FALSE(has_choice(prompt)) << prompt;
    EXPECT_EQ(choose(prompt, 3), prompt);
  }
  EXPECT_TRUE(has_choice("{{x}|y}"));
}

std::vector<std::size_t> sizes(const std::vector<std::int64_t>& ids, std::size_t length) {
  std::vector<WeightedToken> tokens;
  for (const auto id : ids) tokens.push_back({id});
  std::vector<std::size_t> result;
  for (const auto& chunk : split_chunks(tokens, /*comma_id=*/0, length)) {
    result.push_back(chunk.size());
  }
  return result;
}

TEST(SplitChunks, FillsEachAndPrefersACommaNearTheEnd) {
  EXPECT_THAT(sizes({}, 4), ElementsAre(0));
  EXPECT_THAT(sizes({1, 2, 3, 4}, 4), ElementsAre(4));
  EXPECT_THAT(sizes({1, 2, 3, 4, 5}, 4), ElementsAre(4, 1));
  EXPECT_THAT(sizes({1, 0, 3, 4, 5}, 4), ElementsAre(2, 3));
  EXPECT_THAT(sizes({1, 2, 3, 4, 0}, 4), ElementsAre(4, 1));
  std::vector<std::int64_t> far(30, 1);
  far[2] = 0;  // more than 20 tokens before the end
  EXPECT_THAT(sizes(far, 29), ElementsAre(29, 1));
}

}  // namespace
}  // namespace mos::text
