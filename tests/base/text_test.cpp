#include "mos/base/text.h"

#include <gmock/gmock.h>

#include <cstdint>
#include <string>

#include "mos/base/error.h"

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

TEST(ReplacedWord, AnEmptyWordIsNowhere) {
  EXPECT_EQ(mos::find_word("abc", ""), std::string_view::npos);
  EXPECT_EQ(mos::replaced_word("abc", "", "x"), "abc");
  EXPECT_EQ(mos::replaced("abc", "", "x"), "abc");
}

TEST(Utf8, IsWhatRfc3629Says) {
  for (const char* text :
       {"", "abc", "caf\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\x90\xbb", "\xf4\x8f\xbf\xbf"}) {
    EXPECT_TRUE(mos::is_utf8(text)) << text;
  }
  const auto not_utf8 = {
      "caf\xe9",           // Latin-1
      "\x80",              // a byte of the middle first
      "\xc0\xaf",          // longer than needed
      "\xe0\x80\xaf",      // longer than needed
      "\xed\xa0\x80",      // a surrogate
      "\xf4\x90\x80\x80",  // beyond U+10FFFF
      "\xf8\x88\x80\x80",  // five bytes once
      "\xe2\x82",          // cut off
  };
  for (const char* text : not_utf8) EXPECT_FALSE(mos::is_utf8(text)) << text;
}

TEST(Printable, IsOneLineOfUtf8WhateverComes) {
  EXPECT_EQ(mos::printable("a caf\xc3\xa9"), "a caf\xc3\xa9");
  EXPECT_EQ(mos::printable("two\nlines\t\x1b[31m"), "two\\x0alines\\x09\\x1b[31m");
  EXPECT_EQ(mos::printable("caf\xe9 \xc2\x9b"), "caf\\xe9 \\xc2\\x9b");
  EXPECT_EQ(mos::printable(std::string("a\0b", 3)), "a\\x00b");
}

TEST(Printable, LeavesOutTheMiddleAndSaysHowMuch) {
  const auto text = "begin" + std::string(1000, 'x') + "end";
  EXPECT_EQ(mos::printable(text, text.size()), text);
  const auto shorter = mos::printable(text, 40);
  EXPECT_EQ(shorter, "begin" + std::string(25, 'x') + " … (968 bytes left out) … xxxxxxxend");
  std::string euros;
  for (int i = 0; i < 100; ++i) euros += "€";
  for (std::size_t most = 8; most < 40; ++most) {
    EXPECT_TRUE(mos::is_utf8(mos::printable(euros, most))) << most;
  }
  EXPECT_LT(mos::printable(std::string(100'000, '\xff'), 160).size(), 250U);
}

TEST(NumberIn, IsTheWholeTextAndFinite) {
  EXPECT_EQ(mos::number_in<std::int64_t>("-12"), -12);
  EXPECT_EQ(mos::number_in<double>("1e-6"), 1e-6);
  for (const char* text : {"", " 1", "1 ", "+1", "1x", "0x10", "9223372036854775808"}) {
    EXPECT_EQ(mos::number_in<std::int64_t>(text), std::nullopt) << text;
  }
  for (const char* text : {"nan", "inf", "-inf", "1e999", "1,5", "."}) {
    EXPECT_EQ(mos::number_in<double>(text), std::nullopt) << text;
  }
  EXPECT_EQ(mos::number_in<std::uint64_t>("-1"), std::nullopt);
}

TEST(Error, MessageIsOneBoundedLineWhateverWasQuoted) {
  const mos::Error error(mos::ErrorKind::kFormat, "bad \"\xff\n\"");
  EXPECT_STREQ(error.what(), "bad \"\\xff\\x0a\"");
  std::string text(10'000'000, 'x');
  text += "; try that";
  const mos::Error longer(mos::ErrorKind::kFormat, text);
  EXPECT_LT(std::string(longer.what()).size(), mos::kLongestMessage + 100);
  EXPECT_TRUE(std::string_view(longer.what()).ends_with("; try that"));
}

}  // namespace
