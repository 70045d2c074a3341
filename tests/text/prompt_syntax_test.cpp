#include "mos/text/prompt_syntax.h"

#include <gmock/gmock.h>

namespace {

using mos::text::foreign_syntax;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

TEST(ForeignSyntax, NamesAFileOfALoraAsTheOptionForIt) {
  EXPECT_THAT(foreign_syntax("a bear <lora:mybear:0.8>"),
              ElementsAre(AllOf(HasSubstr("<lora:mybear:0.8> is read as plain text"),
                                HasSubstr("--concept mybear.safetensors=0.8"))));
  EXPECT_THAT(foreign_syntax("<lyco:hat>"), ElementsAre(HasSubstr("--concept hat.safetensors")));
  EXPECT_THAT(foreign_syntax("embedding:EasyNeg, blurry"),
              ElementsAre(HasSubstr("embedding:EasyNeg is read")));
}

TEST(ForeignSyntax, NamesWeights) {
  for (const char* prompt : {"a (bear:1.4)", "a (brown bear : 1.1), snow", "((bear))", "[[bear]]",
                             "(bear)1.3", "(a bear)++", "a bear++ in snow"}) {
    EXPECT_THAT(foreign_syntax(prompt), ElementsAre(HasSubstr("no weights"))) << prompt;
  }
}

TEST(ForeignSyntax, NamesChangesChoicesJoinersAndEscapes) {
  EXPECT_THAT(foreign_syntax("a [cat:dog:0.5]"), ElementsAre(HasSubstr("[cat:dog:0.5]")));
  EXPECT_THAT(foreign_syntax("a [cat|dog]"), ElementsAre(HasSubstr("every step")));
  EXPECT_THAT(foreign_syntax("a {red|blue} hat"), ElementsAre(HasSubstr("by chance")));
  EXPECT_THAT(foreign_syntax("a __colour__ hat"), ElementsAre(HasSubstr("__colour__")));
  EXPECT_THAT(foreign_syntax("a cat AND a dog"), ElementsAre(HasSubstr("--regions")));
  EXPECT_THAT(foreign_syntax("sky BREAK sea"), ElementsAre(HasSubstr("BREAK")));
  EXPECT_THAT(foreign_syntax(R"(saber \(fate\))"), ElementsAre(HasSubstr("backslash")));
  EXPECT_THAT(foreign_syntax("<lora:a:1> (b:1.2) {c|d}"), SizeIs(3));
}

TEST(ForeignSyntax, WherePromptsAreReadNamesOnlyWhatIsNot) {
  for (const char* prompt : {"a (dog:nan)", "a (dog: -Inf )", "(dog:INFINITY) b"}) {
    EXPECT_THAT(foreign_syntax(prompt, false), ElementsAre(HasSubstr("ends in no weight")));
  }
  EXPECT_THAT(foreign_syntax("<lora:a:1> (b:1.2) {c|d} BREAK e++ \\(", false), IsEmpty());
  EXPECT_THAT(foreign_syntax("a cat AND a dog, (x)1.3, __y__, embedding:z", false), SizeIs(4));
  EXPECT_THAT(foreign_syntax("a {red|blue bear", false),
              ElementsAre(HasSubstr("{red|blue bear is read as plain text, since nothing closes")));
  EXPECT_THAT(foreign_syntax("a {red|blue} {bear, \\{a|b", false), IsEmpty());
}

TEST(ForeignSyntax, LeavesPlainProseAlone) {
  for (const char* prompt :
       {"", "a bear (brown) in the snow", "a <bear1> <bear2>, 4:3, at 10:30", "[a bear]",
        "a photo -- grainy", "caf\xc3\xa9 <", ":)", "x ^_^", "the year (2023)", "a C+ grade"}) {
    EXPECT_THAT(foreign_syntax(prompt), IsEmpty()) << prompt;
  }
}

}  // namespace
