#include "mos/text/concept_word.h"

#include <gmock/gmock.h>

namespace mos::text {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;

TEST(ConceptWord, IsWhatPeopleCallConcepts) {
  for (const auto* word : {"<potter1>", "sks", "EasyNegative", "bad-hands-5", "ng_v1_75t", "狐",
                           "caf\xc3\xa9", "1girl", "a.b", "BREAKFAST"}) {
    EXPECT_THAT(word_fault(word), IsEmpty()) << word;
    EXPECT_THAT(new_word_fault(word), IsEmpty()) << word;
  }
}

TEST(ConceptWord, IsNotWhatNobodySees) {
  for (const auto* word : {"", " ", "   "}) EXPECT_THAT(word_fault(word), HasSubstr("blank"));
  EXPECT_THAT(word_fault(" qq"), HasSubstr("begins or ends with a blank"));
  EXPECT_THAT(word_fault("\xc2\xa0"), HasSubstr("a blank in it, U+00A0"));
  EXPECT_THAT(word_fault("a\xe3\x80\x80z"), HasSubstr("U+3000"));
  EXPECT_THAT(word_fault("a\x01z"), HasSubstr("a control character in it, U+0001"));
  EXPECT_THAT(word_fault("a\xe2\x80\x8bz"), HasSubstr("an invisible character in it, U+200B"));
  EXPECT_THAT(word_fault("a\xff"), HasSubstr("UTF-8"));
}

TEST(ConceptWord, IsNotWhatPromptsAreMadeOf) {
  for (const auto* word : {"BREAK", "<|startoftext|>", "<|endoftext|>"}) {
    EXPECT_FALSE(word_fault(word).empty()) << word;
  }
}

TEST(ConceptWord, ANewOneHasBothItsBracketsOrNone) {
  for (const auto* word : {"<a", "b>", "<"}) {
    EXPECT_THAT(word_fault(word), IsEmpty()) << word;  // somebody's file may have it
    EXPECT_THAT(new_word_fault(word), HasSubstr("no pair")) << word;
  }
}

TEST(ConceptWord, OfAFileMayNeedEscapesAndANewOneMayNot) {
  for (const auto* word :
       {"cat (toy)", "fox++", "<lora:fox:1>", "<hypernet:fox:1>", "{a|z}", "[fox]", "[a|b]"}) {
    EXPECT_THAT(word_fault(word), IsEmpty()) << word;
    EXPECT_FALSE(new_word_fault(word).empty()) << word;
  }
}

}  // namespace
}  // namespace mos::text
