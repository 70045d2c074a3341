#include "mos/base/json_mistake.h"

#include <fmt/core.h>

#include <algorithm>
#include <cctype>
#include <utility>

#include "mos/base/text.h"
#include "mos/base/utf8.h"

namespace mos {
namespace {

constexpr std::size_t kShownBytes = 40;

bool is_of_word(char c) {
  return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '+' || c == '-' || c == '.' ||
         c == '_';
}
bool is_of_character(char c) { return (static_cast<unsigned char>(c) & 0xC0U) == 0x80U; }

/// The text, word, number or character around the byte `at`.
struct Seen {
  std::size_t begin;
  std::string_view text;
};

Seen seen_at(std::string_view text, std::size_t at) {
  auto begin = at, end = at + 1;
  if (text[at] == '"') {  // the end of a text that is well
    do {
      begin = begin == 0 ? 0 : text.rfind('"', begin - 1);
    } while (begin > 0 && begin != text.npos && text[begin - 1] == '\\');
    if (begin == text.npos) begin = at;
  } else if (is_of_word(text[at])) {
    while (begin > 0 && is_of_word(text[begin - 1])) --begin;
    while (end < text.size() && is_of_word(text[end])) ++end;
  } else {
    while (begin > 0 && is_of_character(text[begin])) --begin;
    while (end < text.size() && is_of_character(text[end])) ++end;
  }
  return {begin, text.substr(begin, end - begin)};
}

std::string place_of(std::string_view text, std::size_t at) {
  const auto before = text.substr(0, at);
  const auto line = before.substr(before.rfind('\n') + 1);  // npos + 1 is 0
  const auto column =
      std::count_if(line.begin(), line.end(), [](char c) { return !is_of_character(c); });
  return fmt::format("line {}, column {}", 1 + std::count(before.begin(), before.end(), '\n'),
                     1 + column);
}

/// What the parser wanted, from the sentence that it made of its state.
const char* expected_in(std::string_view reason) {
  static constexpr std::pair<std::string_view, const char*> kKnown[] = {
      {"expected end of input", "the end"},
      {"expected digit", "a digit"},
      {"parsing object key", "a key in double quotes"},
      {"parsing object separator", "a colon"},
      {"parsing object", "a comma or }"},
      {"parsing array", "a comma or ]"}};
  for (const auto& [words, expected] : kKnown) {
    if (reason.find(words) != reason.npos) return expected;
  }
  return "a value";
}

/// Words of other languages for what JSON calls otherwise, or not at all.
std::string advice_on(std::string_view word) {
  const auto small = lower_ascii(std::string(word));
  if (small == "true" || small == "false") return fmt::format("; JSON writes {}", small);
  if (small == "none" || small == "null") return "; JSON writes null";
  for (const char* number : {"nan", "inf", "infinity", "-inf", "-infinity", "-nan"}) {
    if (small == number) return ", which is no number of JSON";
  }
  if (word == "'") return "; JSON has double quotes around texts and keys";
  if (word == "/" || word == "#") return "; JSON has no comments";
  return "";
}

/// What is wrong inside a text in quotes at its byte `c`, in the parser's words after `reason`.
std::string mistake_in_quotes(char c, std::string_view reason) {
  if (reason.starts_with("surrogate")) {
    return "half of a surrogate pair in a text: write both, as in \\ud83d\\ude00, or the character "
           "itself";
  }
  if (reason.starts_with("'\\u'"))
    return "a \\u in a text without four hexadecimal digits behind it";
  if (c == '\n' || c == '\r')
    return "the end of the line in a text: close its quotes, or write \\n";
  if (static_cast<unsigned char>(c) < ' ') {
    return fmt::format("a control character in a text: write \\u{:04x}",
                       static_cast<unsigned char>(c));
  }
  return "a backslash in a text that means nothing: write \\\\ for one";
}

}  // namespace

std::string json_mistake(std::string_view text, std::size_t read, std::string_view reason) {
  const auto size = trimmed(text).size();
  if (size == 0) return "it is empty";
  if (read > text.size()) {
    const auto end = text.find_last_not_of(" \t\r\n") + 1;
    return fmt::format("it ends at {}, before it is complete; was it cut off?",
                       place_of(text, end));
  }
  if (const auto foreign = utf8_prefix(text); foreign < std::min(read, text.size())) {
    return fmt::format("{} has the byte 0x{:02x}, which is not UTF-8", place_of(text, foreign),
                       static_cast<unsigned char>(text[foreign]));
  }
  auto at = std::max<std::size_t>(read, 1) - 1;
  constexpr std::string_view kInString = "invalid string: ";
  if (const auto found = reason.find(kInString); found != reason.npos) {
    const auto words = reason.substr(found + kInString.size());
    return fmt::format("{} has {}", place_of(text, at), mistake_in_quotes(text[at], words));
  }
  // Of a word that is none the parser has read the first letter that does not fit.
  const bool is_behind = reason.find("invalid literal") != reason.npos && !is_of_word(text[at]);
  if (is_behind && at > 0 && std::isalpha(static_cast<unsigned char>(text[at - 1])) != 0) --at;
  const auto [begin, seen] = seen_at(text, at);
  const auto place = place_of(text, begin);
  const auto shown = printable(seen, kShownBytes);
  if (reason.find("number overflow") != reason.npos) {
    return fmt::format("{} has {}, which is too large for a number", place, shown);
  }
  const auto before = begin == 0 ? text.npos : text.find_last_not_of(" \t\r\n", begin - 1);
  const bool closes = seen == "]" || seen == "}";
  if (closes && before != text.npos && text[before] == ',') {
    return fmt::format("{} has {} behind a comma; the last entry has none behind it", place, shown);
  }
  const auto advice = advice_on(seen);
  return advice.empty()
             ? fmt::format("{} has {} where {} is expected", place, shown, expected_in(reason))
             : fmt::format("{} has {}{}", place, shown, advice);
}

}  // namespace mos
