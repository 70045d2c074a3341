#include "mos/base/text.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cctype>
#include <span>

#include "mos/base/utf8.h"

namespace mos {

namespace {

constexpr std::string_view kBlank = " \t\r\n";

/// Letters beyond ASCII count as letters: their bytes are above 127.
bool is_word_byte(char c) {
  const auto byte = static_cast<unsigned char>(c);
  return byte > 127 || std::isalnum(byte) != 0 || c == '_';
}

bool goes_on(std::string_view text, std::size_t before, std::size_t after) {
  return is_word_byte(text[before]) && is_word_byte(text[after]);
}

/// C0, DEL and the C1 controls, which terminals obey too.
bool is_control(std::string_view character) {
  const auto first = static_cast<unsigned char>(character[0]);
  if (character.size() == 1) return first < 0x20 || first == 0x7F;
  return first == 0xC2 && static_cast<unsigned char>(character[1]) < 0xA0;
}

/// Appends the characters of `text` from `position` on while `result` stays within `most` bytes;
/// returns where it stopped.
std::size_t append_printable(std::string& result, std::string_view text, std::size_t most) {
  std::size_t position = 0;
  while (position < text.size()) {
    const auto rest = text.substr(position);
    const auto size = utf8_character(rest);
    auto character = std::string(rest.substr(0, std::max<std::size_t>(size, 1)));
    const auto whole = character.size();
    if (size == 0 || is_control(character)) {
      character.clear();
      for (const char c : rest.substr(0, whole)) {
        character += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
      }
    }
    if (result.size() + character.size() > most) break;
    result += character;
    position += whole;
  }
  return position;
}

}  // namespace

std::string replaced(std::string text, std::string_view from, std::string_view to) {
  if (from.empty()) return text;
  for (auto at = text.find(from); at != std::string::npos; at = text.find(from, at + to.size())) {
    text.replace(at, from.size(), to);
  }
  return text;
}

std::size_t find_word(std::string_view text, std::string_view word, std::size_t begin) {
  if (word.empty()) return text.npos;
  for (auto at = text.find(word, begin); at != text.npos; at = text.find(word, at + 1)) {
    const auto end = at + word.size();
    const bool is_tail = at > 0 && goes_on(text, at - 1, at);
    const bool is_head = end < text.size() && goes_on(text, end - 1, end);
    if (!is_tail && !is_head) return at;
  }
  return text.npos;
}

bool has_word(std::string_view text, std::string_view word) {
  return find_word(text, word) != text.npos;
}

std::string replaced_word(std::string_view text, std::string_view word, std::string_view to) {
  std::string result;
  std::size_t copied = 0;
  for (auto at = find_word(text, word); at != text.npos; at = find_word(text, word, copied)) {
    result += text.substr(copied, at - copied);
    result += to;
    copied = at + word.size();
  }
  return result += text.substr(copied);
}

std::string trimmed(std::string_view text) {
  const auto first = text.find_first_not_of(kBlank);
  if (first == text.npos) return {};
  return std::string(text.substr(first, text.find_last_not_of(kBlank) - first + 1));
}

std::string lower_ascii(std::string text) {
  for (auto& c : text) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return text;
}

std::vector<std::string> split_words(std::string_view text) {
  constexpr std::string_view kSeparators = " \t\r\n,";
  std::vector<std::string> words;
  for (auto begin = text.find_first_not_of(kSeparators); begin != text.npos;) {
    const auto end = std::min(text.find_first_of(kSeparators, begin), text.size());
    words.emplace_back(text.substr(begin, end - begin));
    begin = text.find_first_not_of(kSeparators, end);
  }
  return words;
}

std::string listed(const std::vector<std::string>& items, std::size_t most,
                   std::string_view separator) {
  const auto shown = std::min(most, items.size());
  auto text = fmt::format("{}", fmt::join(std::span(items).first(shown), separator));
  if (shown < items.size()) text += fmt::format(" and {} more", items.size() - shown);
  return text;
}

bool is_utf8(std::string_view text) { return utf8_prefix(text) == text.size(); }

std::string printable(std::string_view text, std::size_t most) {
  std::string result;
  if (append_printable(result, text, most) == text.size()) return result;
  // The end of a sentence is advice, so it stays: three quarters of the room are the beginning's.
  result.clear();
  const auto begin = append_printable(result, text, most - most / 4);
  auto end = std::max(begin, text.size() - std::min(text.size(), most / 4));
  while (end < text.size() && (static_cast<unsigned char>(text[end]) & 0xC0) == 0x80) ++end;
  result += fmt::format(" … ({} bytes left out) … ", end - begin);
  append_printable(result, text.substr(end), result.size() + most / 4);
  return result;
}

}  // namespace mos
