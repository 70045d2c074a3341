#include "mos/text/prompt_syntax.h"

#include <gmock/gmock.h>

namespace {

using mos::text::foreign_syntax;
using mos::text::prompt_syntax;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

TEST(PromptSyntax, FindsFilesAndWeights) {
  EXPECT_THAT(prompt_syntax("a bear <lora:mybear:0.8>"), ElementsAre("<lora:mybear:0.8>"));
  EXPECT_THAT(prompt_syntax("<lyco:hat>"), ElementsAre("<lyco:hat>"));
  EXPECT_THAT(prompt_syntax("embedding:EasyNeg, blurry"), ElementsAre("embedding:EasyNeg"));
  for (const char* text : {"a (bear:1.4)", "a (brown bear : 1.1), snow", "((bear))", "[[bear]]",
                           "(bear)1.3", "(a bear)++", "a bear++ in snow"}) {
    EXPECT_THAT(prompt_syntax(text), SizeIs(1)) << text;
  }
}

TEST(PromptSyntax, FindsChangesChoicesJoinersAndEscapes) {
  EXPECT_THAT(prompt_syntax("a [cat:dog:0.5]"), ElementsAre("[cat:dog:0.5]"));
  EXPECT_THAT(prompt_syntax("a [cat|dog]"), ElementsAre("[cat|dog]"));
  EXPECT_THAT(prompt_syntax("a {red|blue} hat"), ElementsAre("{red|blue}"));
  EXPECT_THAT(prompt_syntax("a __colour__ hat"), ElementsAre("__colour__"));
  EXPECT_THAT(prompt_syntax("a cat AND a dog"), ElementsAre("AND"));
  EXPECT_THAT(prompt_syntax("sky BREAK sea"), ElementsAre("BREAK"));
  EXPECT_THAT(prompt_syntax(R"(saber \(fate\))"), ElementsAre(R"(\()"));
  EXPECT_THAT(prompt_syntax("<lora:a:1> (b:1.2) {c|d}"),
              ElementsAre("<lora:a:1>", "(b:1.2)", "{c|d}"));
}

TEST(PromptSyntax, LeavesPlainProseAlone) {
  for (const char* text :
       {"", "a bear (brown) in the snow", "a <bear1> <bear2>, 4:3, at 10:30", "[a bear]",
        "a photo -- grainy", "caf\xc3\xa9 <", ":)", "x ^_^", "the year (2023)", "a C+ grade"}) {
    EXPECT_THAT(prompt_syntax(text), IsEmpty()) << text;
    EXPECT_THAT(foreign_syntax(text), IsEmpty()) << text;
  }
}

TEST(ForeignSyntax, NamesOnlyWhatPromptsDoNotRead) {
  for (const char* prompt : {"a (dog:nan)", "a (dog: -Inf )", "(dog:INFINITY) b"}) {
    EXPECT_THAT(foreign_syntax(prompt), ElementsAre(HasSubstr("ends in no weight")));
  }
  EXPECT_THAT(foreign_syntax("<lora:a:1> (b:1.2) {c|d} BREAK e++ \\("), IsEmpty());
  EXPECT_THAT(foreign_syntax("a cat AND a dog, (x)1.3, __y__, embedding:z"),
              ElementsAre(HasSubstr("embedding:z"), HasSubstr(")1"), HasSubstr("__y__"),
                          HasSubstr("--regions")));
  EXPECT_THAT(foreign_syntax("a {red|blue bear"),
              ElementsAre(HasSubstr("{red|blue bear is read as plain text, since nothing closes")));
  EXPECT_THAT(foreign_syntax("a {red|blue} {bear, \\{a|b"), IsEmpty());
  EXPECT_THAT(foreign_syntax("a {0.9::cat| 0.1::dog}"),
              ElementsAre(HasSubstr("0.9:: is read as plain text, since choices have no weights")));
  EXPECT_THAT(foreign_syntax("a {cat|{1-2$$, $$dog|fox}}"),
              ElementsAre(HasSubstr("1-2$$ is read as plain text, since a choice draws one")));
  EXPECT_THAT(foreign_syntax("std::vector, 5$$ | 3::4, \\{2::a|b}"), IsEmpty());
  EXPECT_THAT(foreign_syntax("a dog <LoRA:bear:0.5"),
              ElementsAre(HasSubstr("<LoRA:bear:0.5 is read as plain text, since nothing closes")));
  EXPECT_THAT(foreign_syntax("a \\<lora:x, <lora:y>, a <b, x <"), IsEmpty());
}

}  // namespace
