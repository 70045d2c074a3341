#include "mos/base/text.h"

#include <gtest/gtest.h>

namespace {

TEST(Replaced, EveryOccurrenceAndNothingTwice) {
  EXPECT_EQ(mos::replaced("a <TOK> and <TOK>", "<TOK>", "cat"), "a cat and cat");
  EXPECT_EQ(mos::replaced("aaa", "a", "aa"), "aaaaaa");  // what was put in is not searched
  EXPECT_EQ(mos::replaced("aaa", "aa", ""), "a");
  EXPECT_EQ(mos::replaced("nothing here", "<TOK>", "cat"), "nothing here");
}

}  // namespace
