#include "mos/base/utf8.h"

#include <gtest/gtest.h>

#include <string_view>

namespace mos {
namespace {

TEST(Utf8Character, HasOneToFourBytes) {
  EXPECT_EQ(utf8_character("a"), 1U);
  EXPECT_EQ(utf8_character("\xC3\xA9 and more"), 2U);
  EXPECT_EQ(utf8_character("\xE2\x82\xAC"), 3U);
  EXPECT_EQ(utf8_character("\xF0\x9F\x98\x80"), 4U);
  EXPECT_EQ(utf8_character(std::string_view("\0", 1)), 1U);
}

// RFC 3629, section 4: the last of each line is just outside.
TEST(Utf8Character, IsInItsShortestFormAndNoSurrogate) {
  for (const std::string_view bytes : {
           "\x80", "\xBF",                      // the rest of a character
           "\xC0\x80", "\xC1\xBF",              // one byte written in two
           "\xE0\x9F\xBF",                      // two in three
           "\xED\xA0\x80",                      // a surrogate
           "\xF0\x8F\xBF\xBF",                  // three in four
           "\xF4\x90\x80\x80", "\xF5",          // above U+10FFFF
           "\xC3", "\xE2\x82", "\xF0\x9F\x98",  // cut
           "\xC3(", "\xE2\x82(",                // broken off
       }) {
    EXPECT_EQ(utf8_character(bytes), 0U) << "byte " << static_cast<unsigned char>(bytes[0]);
  }
  EXPECT_EQ(utf8_character("\xED\x9F\xBF"), 3U);      // the last before the surrogates
  EXPECT_EQ(utf8_character("\xEE\x80\x80"), 3U);      // the first behind them
  EXPECT_EQ(utf8_character("\xF4\x8F\xBF\xBF"), 4U);  // U+10FFFF
}

TEST(Utf8Prefix, EndsBeforeTheFirstByteThatIsNone) {
  EXPECT_EQ(utf8_prefix(""), 0U);
  EXPECT_EQ(utf8_prefix("caf\xC3\xA9"), 5U);
  EXPECT_EQ(utf8_prefix("caf\xE9 au lait"), 3U);  // Latin-1
  EXPECT_EQ(utf8_prefix("caf\xC3"), 3U);
}

}  // namespace
}  // namespace mos
