#include "mos/text/clean_text.h"

#include <utf8proc.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <memory>
#include <utility>

namespace mos::text {
namespace {

using CodePoint = std::int32_t;
using CodePoints = std::vector<CodePoint>;

constexpr CodePoint kReplacement = 0xFFFD;
constexpr CodePoint kLongS = 0x17F;
constexpr CodePoint kDottedCapitalI = 0x130;
constexpr CodePoint kCombiningDot = 0x307;
constexpr CodePoint kCapitalSigma = 0x3A3;
constexpr CodePoint kSmallSigma = 0x3C3;
constexpr CodePoint kFinalSigma = 0x3C2;

/// One code point at the start of `text` and its length in bytes; U+FFFD for a bad byte.
std::pair<CodePoint, std::size_t> first_code_point(std::string_view text) {
  CodePoint code_point = 0;
  const auto* bytes = reinterpret_cast<const utf8proc_uint8_t*>(text.data());
  const auto length =
      utf8proc_iterate(bytes, static_cast<utf8proc_ssize_t>(text.size()), &code_point);
  if (length <= 0) return {kReplacement, 1};
  return {code_point, static_cast<std::size_t>(length)};
}

CodePoints decode(std::string_view text) {
  CodePoints result;
  result.reserve(text.size());
  while (!text.empty()) {
    const auto [code_point, length] = first_code_point(text);
    result.push_back(code_point);
    text.remove_prefix(length);
  }
  return result;
}

bool is_letter(CodePoint c) {
  const auto category = utf8proc_category(c);
  return category >= UTF8PROC_CATEGORY_LU && category <= UTF8PROC_CATEGORY_LO;
}

bool is_number(CodePoint c) {
  const auto category = utf8proc_category(c);
  return category >= UTF8PROC_CATEGORY_ND && category <= UTF8PROC_CATEGORY_NO;
}

bool is_blank(CodePoint c) {
  return c == ' ' || c == '\t' || c == '\n' || c == '\r' ||
         utf8proc_category(c) == UTF8PROC_CATEGORY_ZS;
}

/// Unicode's "other": control, format, surrogate, private use and unassigned.
bool is_control(CodePoint c) {
  const auto category = utf8proc_category(c);
  return category == UTF8PROC_CATEGORY_CC || category == UTF8PROC_CATEGORY_CF ||
         category == UTF8PROC_CATEGORY_CS || category == UTF8PROC_CATEGORY_CO ||
         category == UTF8PROC_CATEGORY_CN;
}

/// What separates words once blanks are spaces: line and paragraph separators remain.
bool is_separator(CodePoint c) { return c == ' ' || c == 0x2028 || c == 0x2029; }

/// The CJK blocks that BERT's tokenizer sets apart (not kana, not Hangul).
bool is_chinese(CodePoint c) {
  constexpr std::array<std::pair<CodePoint, CodePoint>, 8> kBlocks = {{
      {0x4E00, 0x9FFF},
      {0x3400, 0x4DBF},
      {0x20000, 0x2A6DF},
      {0x2A700, 0x2B73F},
      {0x2B740, 0x2B81F},
      {0x2B820, 0x2CEAF},
      {0xF900, 0xFAFF},
      {0x2F800, 0x2FA1F},
  }};
  return std::any_of(kBlocks.begin(), kBlocks.end(),
                     [c](const auto& block) { return c >= block.first && c <= block.second; });
}

std::string compose(const std::string& text) {
  utf8proc_uint8_t* result = nullptr;
  const auto options = static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE);
  const auto length = utf8proc_map(reinterpret_cast<const utf8proc_uint8_t*>(text.data()),
                                   static_cast<utf8proc_ssize_t>(text.size()), &result, options);
  const std::unique_ptr<utf8proc_uint8_t, void (*)(void*)> owner(result, std::free);
  if (length < 0) return text;
  return {reinterpret_cast<const char*>(result), static_cast<std::size_t>(length)};
}

bool is_cased(CodePoint c) {
  const auto category = utf8proc_category(c);
  return category == UTF8PROC_CATEGORY_LU || category == UTF8PROC_CATEGORY_LL ||
         category == UTF8PROC_CATEGORY_LT;
}

/// Unicode's Case_Ignorable: marks, modifiers and the punctuation inside words.
bool is_case_ignorable(CodePoint c) {
  constexpr std::array<CodePoint, 17> kInsideWords = {
      0x27,   0x2E,   0x3A,   0xB7,   0x387,  0x55F,  0x5F4,  0x2018, 0x2019,
      0x2024, 0x2027, 0xFE13, 0xFE52, 0xFE55, 0xFF07, 0xFF0E, 0xFF1A};
  switch (utf8proc_category(c)) {
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_SK:
      return true;
    default:
      return std::find(kInsideWords.begin(), kInsideWords.end(), c) != kInsideWords.end();
  }
}

/// Unicode's Final_Sigma: a cased letter before, none after, ignoring what is case-ignorable.
bool ends_a_word(const CodePoints& word, std::size_t at) {
  auto before = at;
  while (before > 0 && is_case_ignorable(word[before - 1])) --before;
  auto after = at + 1;
  while (after < word.size() && is_case_ignorable(word[after])) ++after;
  return before > 0 && is_cased(word[before - 1]) &&
         (after == word.size() || !is_cased(word[after]));
}

/// Python's str.lower(): simple mappings but for the two special cases of Unicode.
void append_lower(std::string& result, const CodePoints& word) {
  for (std::size_t i = 0; i < word.size(); ++i) {
    if (word[i] == kCapitalSigma) {
      append_utf8(result, ends_a_word(word, i) ? kFinalSigma : kSmallSigma);
    } else if (word[i] == kDottedCapitalI) {
      append_utf8(result, 'i');
      append_utf8(result, kCombiningDot);
    } else {
      append_utf8(result, utf8proc_tolower(word[i]));
    }
  }
}

/// Length of the English contraction at the start of `text`, 0 if there is none.
std::size_t contraction_length(std::string_view text) {
  constexpr std::array<std::string_view, 7> kEndings = {"s", "t", "re", "ve", "m", "ll", "d"};
  if (!text.starts_with('\'')) return 0;
  const auto rest = text.substr(1);
  for (const auto ending : kEndings) {
    if (rest.starts_with(ending)) return 1 + ending.size();
  }
  // The expression ignores case, and the long s is an s in another case.
  const auto [code_point, length] = first_code_point(rest);
  return !rest.empty() && code_point == kLongS ? 1 + length : 0;
}

template <typename Predicate>
std::size_t run_length(std::string_view text, Predicate belongs) {
  std::size_t total = 0;
  while (total < text.size()) {
    const auto [code_point, length] = first_code_point(text.substr(total));
    if (!belongs(code_point)) break;
    total += length;
  }
  return total;
}

std::size_t piece_length(std::string_view text, const std::vector<std::string>& whole) {
  for (const auto& word : whole) {
    if (text.starts_with(word)) return word.size();
  }
  if (const auto length = contraction_length(text); length > 0) return length;
  if (const auto length = run_length(text, is_letter); length > 0) return length;
  const auto [code_point, length] = first_code_point(text);
  if (is_number(code_point)) return length;
  return run_length(text, [](CodePoint c) {
    return !is_letter(c) && !is_number(c) && !is_blank(c) && !is_separator(c);
  });
}

}  // namespace

void append_utf8(std::string& text, std::int32_t code_point) {
  std::array<utf8proc_uint8_t, 4> bytes{};
  const auto length = utf8proc_encode_char(code_point, bytes.data());
  text.append(reinterpret_cast<const char*>(bytes.data()), static_cast<std::size_t>(length));
}

std::string clean_text(std::string_view text) {
  std::string cleaned;
  for (const auto c : decode(text)) {
    if (is_blank(c)) {
      cleaned += ' ';
    } else if (c == kReplacement || is_control(c)) {
      continue;
    } else if (is_chinese(c)) {
      cleaned += ' ';
      append_utf8(cleaned, c);
      cleaned += ' ';
    } else {
      append_utf8(cleaned, c);
    }
  }
  std::string result;
  CodePoints word;
  const auto finish_word = [&] {
    if (word.empty()) return;
    if (!result.empty()) result += ' ';
    append_lower(result, word);
    word.clear();
  };
  for (const auto c : decode(compose(cleaned))) {
    if (is_separator(c)) {
      finish_word();
    } else {
      word.push_back(c);
    }
  }
  finish_word();
  return result;
}

std::vector<std::string_view> split_pieces(std::string_view text,
                                           const std::vector<std::string>& whole) {
  std::vector<std::string_view> pieces;
  while (!text.empty()) {
    const auto length = piece_length(text, whole);
    if (length > 0) pieces.push_back(text.substr(0, length));
    text.remove_prefix(length > 0 ? length : first_code_point(text).second);
  }
  return pieces;
}

}  // namespace mos::text
