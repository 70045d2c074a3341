#include "mos/text/weighted_prompt.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "mos/base/error.h"

namespace mos::text {
namespace {

/// `text*weight` with two digits, parts with / between them.
std::string shown(std::string_view prompt) {
  std::string text;
  for (const auto& part : parse_weights(prompt)) {
    if (!text.empty()) text += "/";
    for (const auto& [words, weight] : part) {
      text += "{" + words + "*" + std::to_string(std::lround(weight * 1000)) + "}";
    }
  }
  return text;
}

TEST(ParseWeights, GivesWhatA1111Documents) {
  EXPECT_EQ(shown("normal text"), "{normal text*1000}");
  EXPECT_EQ(shown("an (important) word"), "{an *1000}{important*1100}{ word*1000}");
  EXPECT_EQ(shown("(unbalanced"), "{unbalanced*1100}");
  EXPECT_EQ(shown("\\(literal\\]"), "{(literal]*1000}");
  EXPECT_EQ(shown("(unnecessary)(parens)"), "{unnecessaryparens*1100}");
  EXPECT_EQ(shown("a (((house:1.3)) [on] a (hill:0.5), sun, (((sky)))."),
            "{a *1000}{house*1573}{ *1100}{on*1000}{ a *1100}{hill*550}{, sun, *1100}{sky*1464}"
            "{.*1100}");
}

TEST(ParseWeights, RoundAndSquareBracketsDoNotSeeEachOther) {
  EXPECT_EQ(shown("(a [b) c]"), "{a *1100}{b*1000}{ c*909}");
  EXPECT_EQ(shown("[a (b] c:1.2) d"), "{a *909}{b*1091}{ c*1200}{ d*1000}");
}

TEST(ParseWeights, ReadsNumbersWithSignsAndSpaces) {
  EXPECT_EQ(shown("(cat: 1.25 )"), "{cat*1250}");
  EXPECT_EQ(shown("(cat:+.5)(dog:-1)"), "{cat*500}{dog*-1000}");
  EXPECT_EQ(shown("[cat]"), "{cat*909}");
}

TEST(ParseWeights, LeavesWhatIsNoSyntaxAlone) {
  EXPECT_EQ(shown(""), "{*1000}");
  EXPECT_EQ(shown("a) b] c: d"), "{a) b] c: d*1000}");
  EXPECT_EQ(shown("time 10:30, ratio 16:9"), "{time 10:30, ratio 16:9*1000}");
  EXPECT_EQ(shown("a-b c+d well- e+"), "{a-b c+d well- e+*1000}");
  EXPECT_EQ(shown("(cat:big)"), "{cat:big*1100}");
  EXPECT_EQ(shown("a \\ b\\c"), "{a \\ b\\c*1000}");
  EXPECT_EQ(shown("BREAKFAST, unBREAK"), "{BREAKFAST, unBREAK*1000}");
}

TEST(ParseWeights, CountsTheSignsOfCompel) {
  EXPECT_EQ(shown("a cat++ here"), "{a *1000}{cat*1210}{ here*1000}");
  EXPECT_EQ(shown("cat+++, dog--"), "{cat*1331}{, *1000}{dog*810}");
  EXPECT_EQ(shown("(two words)++ and (less)-"), "{two words*1210}{ and *1000}{less*900}");
  EXPECT_EQ(shown("<cat1> <cat2>++ sits"), "{<cat1> *1000}{<cat2>*1210}{ sits*1000}");
  EXPECT_EQ(shown("(a cat++)"), "{a *1100}{cat*1331}");
  EXPECT_EQ(shown("c\\+\\+"), "{c++*1000}");
}

TEST(ParseWeights, BreakBeginsAnotherPart) {
  EXPECT_EQ(shown("a cat BREAK a (dog:1.2)"), "{a cat *1000}/{ a *1000}{dog*1200}");
  EXPECT_EQ(shown("BREAK"), "{*1000}/{*1000}");
  EXPECT_EQ(shown("(a BREAK b)"), "{a *1100}/{ b*1100}");
}

TEST(ParseWeights, RefusesWhatChangesBetweenSteps) {
  for (const char* prompt : {"a [cat:dog:0.5]", "[cat::10]", "[cat:dog: 0.5 ]", "[cat|dog] runs"}) {
    try {
      parse_weights(prompt);
      ADD_FAILURE() << prompt;
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::kUsage);
      EXPECT_THAT(error.what(), testing::HasSubstr("--plain-text"));
    }
  }
}

TEST(ParseWeights, TakesAnEscapedBarForALetter) {
  EXPECT_EQ(shown("[cat\\|dog]"), "{cat|dog*909}");
}

TEST(ParseWeights, RefusesWeightsBeyondAllUse) {
  EXPECT_EQ(shown("(cat:10000)"), "{cat*10000000}");
  for (const auto& prompt :
       {std::string("a (cat:1e38)"), std::string("(cat:-10001)"), "cat" + std::string(10000, '+'),
        std::string(200, '(') + "cat", std::string("((cat:1e200):1e200)")}) {
    try {
      parse_weights(prompt);
      ADD_FAILURE() << prompt;
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::kUsage);
      EXPECT_THAT(error.what(), testing::HasSubstr("\"cat\" in a prompt has the weight"));
    }
  }
}

TEST(ParseWeights, TellsWhetherAPromptIsPlain) {
  const auto plain = [](std::string_view prompt) {
    return is_plain(parse_weights(prompt), prompt);
  };
  EXPECT_TRUE(plain("a photo of <cat1> <cat2>, at 10:30"));
  EXPECT_TRUE(plain(""));
  EXPECT_FALSE(plain("a (cat)"));
  EXPECT_FALSE(plain("a \\(cat\\)"));
  EXPECT_FALSE(plain("a BREAK b"));
}

}  // namespace
}  // namespace mos::text
