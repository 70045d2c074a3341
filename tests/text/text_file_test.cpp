#include "mos/text/text_file.h"

#include <gmock/gmock.h>

#include "mos/base/error.h"

namespace {

using mos::text::text_of_file;
using ::testing::AllOf;
using ::testing::HasSubstr;
using namespace std::string_view_literals;

std::string refusal(std::string_view bytes) {
  try {
    text_of_file(bytes);
  } catch (const mos::Error& error) {
    EXPECT_EQ(error.kind(), mos::ErrorKind::kFormat);
    return error.what();
  }
  return "";
}

TEST(TextFile, LosesItsByteOrderMarkAndHasOneKindOfLineEnd) {
  EXPECT_EQ(text_of_file("\xef\xbb\xbf<TOK>, snow"), "<TOK>, snow");
  EXPECT_EQ(text_of_file("a\r\nb\rc\n\r\n"), "a\nb\nc\n\n");
  EXPECT_EQ(text_of_file("caf\xc3\xa9 \xe7\x8c\xab \xf0\x9f\x90\xbb"),
            "caf\xc3\xa9 \xe7\x8c\xab \xf0\x9f\x90\xbb");
  EXPECT_EQ(text_of_file(""), "");
  EXPECT_EQ(text_of_file("\xef\xbb\xbf"), "");
}

TEST(TextFile, InAnotherEncodingIsRefusedWithTheWayToMendIt) {
  EXPECT_THAT(refusal("\xff\xfe<\0T\0"sv), AllOf(HasSubstr("UTF-16"), HasSubstr("iconv")));
  EXPECT_THAT(refusal("\xfe\xff\0<\0T"sv), HasSubstr("UTF-16"));
  EXPECT_THAT(refusal("\xff\xfe\0\0<\0\0\0"sv), HasSubstr("UTF-32"));
  EXPECT_THAT(refusal("<\0T\0O\0"sv), HasSubstr("zero bytes"));
  EXPECT_THAT(refusal("one\ncaf\xe9 in the snow"),
              AllOf(HasSubstr("line 2"), HasSubstr("0xe9"), HasSubstr("WINDOWS-1252")));
  EXPECT_THAT(refusal("\x93<TOK>\x94"), HasSubstr("0x93"));
  EXPECT_THAT(refusal("cut in the middle \xe7\x8c"), HasSubstr("0xe7"));
  EXPECT_THAT(refusal("too long a form \xc0\xaf"), HasSubstr("0xc0"));
}

}  // namespace
