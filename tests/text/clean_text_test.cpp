#include "mos/text/clean_text.h"

#include <gmock/gmock.h>

namespace {

using mos::text::clean_text;
using mos::text::split_pieces;
using testing::ElementsAre;
using testing::IsEmpty;

std::vector<std::string> pieces(std::string_view text) {
  const auto views = split_pieces(text, {"<|startoftext|>", "<|endoftext|>"});
  return {views.begin(), views.end()};
}

TEST(CleanText, LeavesSingleSpacesBetweenLoweredWords) {
  EXPECT_EQ(clean_text("  A\tphoto\r\nOF\u00a0a\u3000CAT  "), "a photo of a cat");
  EXPECT_EQ(clean_text("a\u2028b"), "a b");
  EXPECT_EQ(clean_text(" \n "), "");
}

TEST(CleanText, DropsControlCharactersAndBadBytes) {
  EXPECT_EQ(clean_text(std::string("a\0b\x7f", 4) + "\u200bc"), "abc");
  EXPECT_EQ(clean_text("a\xff\xc3"), "a");
}

TEST(CleanText, ComposesAccentsAndKeepsThem) { EXPECT_EQ(clean_text("Cafe\u0301"), "caf\u00e9"); }

TEST(CleanText, SetsChineseCharactersApart) { EXPECT_EQ(clean_text("a龍b中文"), "a 龍 b 中 文"); }

TEST(CleanText, LowersTheTwoSpecialCasesOfUnicode) {
  EXPECT_EQ(clean_text("ΟΔΟΣ ΣΑΣ Σ"), "οδος σας σ");
  EXPECT_EQ(clean_text("İ"), "i\u0307");
}

TEST(SplitPieces, FollowsTheExpressionOfClip) {
  EXPECT_THAT(pieces("it's they've"), ElementsAre("it", "'s", "they", "'ve"));
  EXPECT_THAT(pieces("''s"), ElementsAre("''", "s"));
  EXPECT_THAT(pieces("a1b23"), ElementsAre("a", "1", "b", "2", "3"));
  EXPECT_THAT(pieces("wow!!! (x)"), ElementsAre("wow", "!!!", "(", "x", ")"));
  EXPECT_THAT(pieces("!<|endoftext|>b"), ElementsAre("!<|", "endoftext", "|>", "b"));
  EXPECT_THAT(pieces("a <|endoftext|>b"), ElementsAre("a", "<|endoftext|>", "b"));
  EXPECT_THAT(pieces("é½"), ElementsAre("é", "½"));
  EXPECT_THAT(pieces(""), IsEmpty());
}

}  // namespace
