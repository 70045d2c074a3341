#include "mos/base/text.h"

#include <gmock/gmock.h>

namespace {

TEST(Replaced, EveryOccurrenceAndNothingTwice) {
  EXPECT_EQ(mos::replaced("a <TOK> and <TOK>", "<TOK>", "cat"), "a cat and cat");
  EXPECT_EQ(mos::replaced("aaa", "a", "aa"), "aaaaaa");  // what was put in is not searched
  EXPECT_EQ(mos::replaced("aaa", "aa", ""), "a");
  EXPECT_EQ(mos::replaced("nothing here", "<TOK>", "cat"), "nothing here");
}

TEST(ReplacedWord, LongerWordsAreLeftAlone) {
  EXPECT_EQ(mos::replaced_word("cat scatter cat, cat_2 cat", "cat", "dog"),
            "dog scatter dog, cat_2 dog");
  EXPECT_EQ(mos::replaced_word("<cat1>s<cat1>", "<cat1>", "<new0>"), "<new0>s<new0>");
  EXPECT_EQ(mos::replaced_word("caf\xc3\xa9", "caf", "x"), "caf\xc3\xa9");
  EXPECT_TRUE(mos::has_word("a <cat1>.", "<cat1>"));
  EXPECT_FALSE(mos::has_word("scatter", "cat"));
}

TEST(SplitWords, AtBlanksLineEndsAndCommas) {
  using ::testing::ElementsAre;
  using ::testing::IsEmpty;
  EXPECT_THAT(mos::split_words("<a1> <a2>"), ElementsAre("<a1>", "<a2>"));
  EXPECT_THAT(mos::split_words("<a1>,<a2>"), ElementsAre("<a1>", "<a2>"));
  EXPECT_THAT(mos::split_words(" ,<a1> ,\t<a2>\r\n,"), ElementsAre("<a1>", "<a2>"));
  EXPECT_THAT(mos::split_words("one"), ElementsAre("one"));
  EXPECT_THAT(mos::split_words(" , "), IsEmpty());
}

TEST(Listed, NamesTheFirstAndCountsTheRest) {
  EXPECT_EQ(mos::listed({}), "");
  EXPECT_EQ(mos::listed({"a", "b"}, 2), "a, b");
  EXPECT_EQ(mos::listed({"a", "b", "c", "d"}, 2), "a, b and 2 more");
}

TEST(Trimmed, LosesBlanksAndLineEndsAround) {
  EXPECT_EQ(mos::trimmed(" \ta b\r\n"), "a b");
  EXPECT_EQ(mos::trimmed(" \n "), "");
}

}  // namespace
