#include "mos/text/foreign_prompt.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "mos/base/error.h"
#include "mos/text/prompt_tags.h"

namespace mos::text {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

/// `{text*thousandths}`, parts with / between them.
std::string shown_pieces(const WeightedPrompt& prompt) {
  std::string text;
  for (const auto& part : prompt) {
    if (!text.empty()) text += "/";
    for (const auto& [words, weight] : part) {
      text += "{" + words + "*" + std::to_string(std::lround(weight * 1000)) + "}";
    }
  }
  return text;
}

TEST(ForeignPrompts, OfA1111HaveItsSyntaxAlone) {
  const auto read = [](const char* prompt) { return shown_pieces(parse_a1111(prompt)); };
  EXPECT_EQ(read("{{a dog}}, hair++ {red|blue} C++"), "{{{a dog}}, hair++ {red|blue} C++*1000}");
  EXPECT_EQ(read("a (((house:1.3)) [on] a (hill:0.5), sun, (((sky)))."),
            "{a *1000}{house*1573}{ *1100}{on*1000}{ a *1100}{hill*550}{, sun, *1100}{sky*1464}"
            "{.*1100}");
  EXPECT_EQ(read("(a)++ (b)-"), "{a*1100}{++ *1000}{b*1100}{-*1000}");
  EXPECT_EQ(read("(a:1e3) (b: +.5 )"), "{a:1e3*1100}{ *1000}{b*500}");
  EXPECT_EQ(read("(a [b) c]"), "{a *1100}{b*1000}{ c*909}");
  EXPECT_EQ(read("a\\b \\{c\\} \\\\ \\(d\\)"), "{ab {c} \\ (d)*1000}");
  EXPECT_EQ(read("a) b] c:1.2)"), "{a) b] c:1.2)*1000}");
}

TEST(ForeignPrompts, OfA1111BreakBetweenWordsAndOutsideOfBrackets) {
  const auto read = [](const char* prompt) { return shown_pieces(parse_a1111(prompt)); };
  EXPECT_EQ(read("a BREAK b"), "{a *1000}/{ b*1000}");
  EXPECT_EQ(read("a\xEF\xBC\x8C"
                 "BREAK b"),
            "{a\xEF\xBC\x8C*1000}/{ b*1000}");  // a wide comma
  EXPECT_EQ(read("BREAKFAST \xC3\xA9"
                 "BREAK BREAK_"),
            "{BREAKFAST \xC3\xA9"
            "BREAK BREAK_*1000}");
  EXPECT_EQ(read("(a BREAK b:1.2)"), "{a *1200}{BREAK*-1200}{ b*1200}");
}

TEST(ForeignPrompts, OfComfyUiHaveWeightsThatTakeThePlaceOfOuterOnes) {
  const auto read = [](const char* prompt) { return shown_pieces(parse_comfyui(prompt)); };
  EXPECT_EQ(read("a (b) ((c)) (d:1.3)"), "{a *1000}{b*1100}{ *1000}{c*1210}{ *1000}{d*1300}");
  EXPECT_EQ(read("((a:1.2) b:1.5)"), "{a*1200}{ b*1500}");
  EXPECT_EQ(read("[a] [b:c:0.5] {d|e} f++ BREAK g AND h"),
            "{[a] [b:c:0.5] {d|e} f++ BREAK g AND h*1000}");
  EXPECT_EQ(read("\\(a\\) \\[b\\] (c\\):1.2)"), "{(a) \\[b\\] *1000}{c)*1200}");
  EXPECT_EQ(read("(a"), "{(a*1000}");
  EXPECT_EQ(read("a) (b)"), "{a) (b)*1000}");
  EXPECT_EQ(read("(:1.2)"), "{:1.2*1100}");
  EXPECT_EQ(read(""), "{*1000}");
  EXPECT_THROW(parse_comfyui(std::string(5000, '(') + "a" + std::string(5000, ')')), Error);
}

TEST(ForeignPrompts, OfInvokeAiHaveWeightsBehindBracketsAlone) {
  const auto read = [](const char* prompt) { return shown_pieces(parse_compel(prompt)); };
  EXPECT_EQ(read("a (cat) (dog)1.3, (fox)++ (owl)-"),
            "{a cat *1000}{dog*1300}{, *1000}{fox*1210}{ *1000}{owl*900}");
  EXPECT_EQ(read("cat+ well-lit C++, e-mail-- -- x"),
            "{cat*1100}{ well-lit *1000}{C*1210}{, *1000}{e-mail*810}{ -- x*1000}");
  EXPECT_EQ(read("((a+ b)1.2 c)0.5"), "{a*660}{ b*600}{ c*500}");
  EXPECT_EQ(read("\"a (b)+\"-, \\(c\\)\\+"), "{a *900}{b*990}{, (c)+*1000}");
  EXPECT_EQ(read("(a:1.2) [b] {c|d} BREAK (e)."), "{a:1.2 [b] {c|d} BREAK e.*1000}");
}

TEST(ForeignPrompts, ThatSayTheSameHereStayAsTheyAre) {
  for (const char* prompt :
       {"", "a cat, (snow:1.2)\nin [two] lines", "a <wizard1> <wizard2>", "{{a dog}}", "well-lit",
        "a \\(b\\)", "a BREAK b", "(unbalanced", "[cat:dog:0.5]"}) {
    EXPECT_EQ(from_a1111(prompt), prompt);
  }
  for (const char* prompt : {"", "a (cat:1.2)", "((a))", "\\(a\\)"}) {
    EXPECT_EQ(from_comfyui(prompt), prompt);
  }
}

TEST(ForeignPrompts, AreEscapedWhereTheyWouldMeanMoreHere) {
  EXPECT_EQ(from_a1111("{{a dog}}, hair++ {red|blue} C++"),
            "\\{\\{a dog}}, hair\\+\\+ \\{red|blue} C\\+\\+");
  EXPECT_EQ(from_a1111("a <lora:x:1>"), "a \\<lora:x:1>");
  EXPECT_EQ(from_a1111("(cat)--"), "(cat:1.1)\\-\\-");
  EXPECT_EQ(from_a1111("(a BREAK b)"), "(a :1.1)(break:-1.1)( b:1.1)");
  EXPECT_EQ(from_comfyui("[a|b] BREAK"), "\\[a|b\\] break");
  EXPECT_EQ(from_comfyui("[cat:dog:0.5]"), "\\[cat:dog:0.5\\]");
}

/// Texts of the marks that anybody reads.
std::vector<std::string> texts_of_marks() {
  const std::vector<std::string> marks = {"a",   "b ", "(", ")",     "[",          "]",   "{",
                                          "}",   "|",  "+", "-",     "\\",         ":",   "1.2",
                                          ":2)", "<",  ">", "BREAK", "<lora:x:1>", "1e1", " "};
  std::mt19937 random(7);
  std::vector<std::string> texts;
  for (int i = 0; i < 20000; ++i) {
    std::string text;
    for (auto left = 1 + random() % 14; left > 0; --left) text += marks[random() % marks.size()];
    texts.push_back(std::move(text));
  }
  return texts;
}

/// Small letters, as the tokenizer has them, and no blanks at the ends of parts.
std::string essence(WeightedPrompt prompt) {
  std::string text;
  for (auto& part : prompt) {
    std::string words;
    for (auto& [piece, weight] : part) {
      for (auto& c : piece) {
        words += std::string(1, static_cast<char>(std::tolower(c)));
        if (c != ' ') words += std::to_string(std::lround(weight * 1e4));
      }
    }
    while (words.ends_with(' ')) words.pop_back();
    text += words.substr(std::min(words.find_first_not_of(' '), words.size())) + "/";
  }
  return text;
}

template <class Parse>
void expect_the_same_here(const std::string& text, Parse parse, const std::string& ours) {
  WeightedPrompt theirs;
  try {
    theirs = parse(text);
  } catch (const Error&) {  // what changes between steps, which is refused here too
    EXPECT_THROW(parse_weights(ours), Error) << text;
    return;
  }
  EXPECT_FALSE(has_choice(ours)) << text;
  EXPECT_THAT(take_lora_tags(ours).loras, IsEmpty()) << text;
  EXPECT_EQ(essence(parse_weights(ours)), essence(theirs)) << text << "\n" << ours;
}

TEST(ForeignPrompts, OfAnyMarksAreTheSameHere) {
  for (const auto& text : texts_of_marks()) {
    expect_the_same_here(text, parse_a1111, from_a1111(text));
    expect_the_same_here(text, parse_comfyui, from_comfyui(text));
    expect_the_same_here(text, parse_compel, from_compel(text));
    if (HasFailure()) return;
  }
}

TEST(ForeignPrompts, OfOursAreTheSameInA1111) {
  EXPECT_EQ(to_a1111("a (cat:1.2), (b)", false), "a (cat:1.2), (b)");
  EXPECT_EQ(to_a1111("a cat++, (two words)-", false), "a (cat:1.21), (two words:0.9)");
  EXPECT_EQ(to_a1111("a (dog) [x] {y|z} <lora:w:1> C++ BREAK AND", true),
            "a \\(dog\\) \\[x\\] {y|z} <\\lora:w:1> C++ break and");
  for (const auto& text : texts_of_marks()) {
    const auto plain = to_a1111(text, true);
    EXPECT_EQ(essence(parse_a1111(plain)), essence({{{text}}})) << text << "\n" << plain;
    WeightedPrompt ours;
    try {
      ours = parse_weights(text);
    } catch (const Error&) {
      continue;
    }
    EXPECT_EQ(essence(parse_a1111(to_a1111(text, false))), essence(ours)) << text;
    if (HasFailure()) return;
  }
}

TEST(ForeignPrompts, OfComfyUiNameEmbeddings) {
  const auto taken =
      take_embeddings("bad, (embedding:easynegative:1.2) embedding:sub\\hands.pt, x");
  EXPECT_EQ(taken.prompt, "bad, (easynegative:1.2) hands, x");
  EXPECT_THAT(taken.names, ElementsAre("easynegative", "hands"));
  for (const char* prompt : {"embedding: a", "an,embedding:b", ""}) {
    EXPECT_EQ(take_embeddings(prompt).prompt, prompt);
    EXPECT_THAT(take_embeddings(prompt).names, IsEmpty());
  }
}

}  // namespace
}  // namespace mos::text
