#include "mos/region/structure.h"

#include <algorithm>
#include <cctype>

namespace mos::region {

using torch::Tensor;

namespace {

/// What stands between noun phrases.
constexpr auto kBetween = std::to_array<std::string_view>(
    {"a",        "an",     "the",   "and",     "or",   "of",      "in",      "on",     "at",
     "with",     "by",     "to",    "from",    "near", "beside",  "behind",  "before", "under",
     "over",     "above",  "below", "between", "next", "left",    "right",   "inside", "into",
     "onto",     "is",     "are",   "was",     "be",   "wearing", "holding", "riding", "sitting",
     "standing", "while",  "that",  "which",   "its",  "his",     "her",     "their",  "this",
     "front",    "around", "for",   "as",      "BREAK"});

bool is_word_letter(char c) {
  const auto byte = static_cast<unsigned char>(c);
  return std::isalnum(byte) != 0 || byte >= 0x80 || c == '<' || c == '>' || c == '-' || c == '_' ||
         c == '\'';
}

bool is_between(std::string_view word) {
  std::string low(word);
  std::transform(low.begin(), low.end(), low.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return std::find(kBetween.begin(), kBetween.end(), word) != kBetween.end() ||
         std::find(kBetween.begin(), kBetween.end(), low) != kBetween.end();
}

/// Rows [from, from + count) along the tokens.
Tensor rows(const Tensor& text, std::int64_t from, std::int64_t count) {
  return text.narrow(text.dim() - 2, from, count);
}

/// Puts the phrase into `text`.
void overwrite(Tensor& text, const EncodedPhrase& phrase) {
  const auto length = text.size(text.dim() - 2);
  const auto count = std::min(phrase.tokens, length - phrase.column);
  auto place = rows(text, phrase.column, count);
  auto alone = rows(phrase.alone, 1, count);  // behind the begin
  if (alone.dim() < place.dim()) alone = alone.unsqueeze(1);
  place.copy_(alone.expand_as(place));
}

}  // namespace

StructuredText structured_text(const Tensor& prompt, const std::vector<EncodedPhrase>& phrases,
                               Structure structure) {
  StructuredText text;
  auto all = prompt.clone();
  auto sum = prompt.clone();
  for (const auto& phrase : phrases) {
    auto copy = prompt.clone();
    overwrite(copy, phrase);
    overwrite(all, phrase);
    sum += copy;
    if (structure == Structure::kConjunction) text.more_keys.push_back(std::move(copy));
  }
  text.values =
      structure == Structure::kConjunction ? all : sum / static_cast<double>(phrases.size() + 1);
  return text;
}

std::vector<std::string> noun_phrases(std::string_view prompt) {
  std::vector<std::string> phrases;
  std::string phrase;
  std::int64_t words = 0;
  const auto end_phrase = [&] {
    if (words > 1) phrases.push_back(phrase);
    phrase.clear();
    words = 0;
  };
  for (std::size_t i = 0; i < prompt.size();) {
    auto end = i;
    while (end < prompt.size() && is_word_letter(prompt[end])) ++end;
    const auto word = prompt.substr(i, end - i);
    if (word.empty()) {
      if (prompt[i] != ' ') end_phrase();  // punctuation and marks of weights
      ++i;
      continue;
    }
    if (is_between(word)) {
      end_phrase();
    } else {
      phrase += (words == 0 ? "" : " ") + std::string(word);
      ++words;
    }
    i = end;
  }
  end_phrase();
  return phrases;
}

}  // namespace mos::region
