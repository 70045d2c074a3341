#include "mos/base/text.h"

#include <cctype>

namespace mos {

namespace {

/// Letters beyond ASCII count as letters: their bytes are above 127.
bool is_word_byte(char c) {
  const auto byte = static_cast<unsigned char>(c);
  return byte > 127 || std::isalnum(byte) != 0 || c == '_';
}

bool goes_on(std::string_view text, std::size_t before, std::size_t after) {
  return is_word_byte(text[before]) && is_word_byte(text[after]);
}

}  // namespace

std::string replaced(std::string text, std::string_view from, std::string_view to) {
  for (auto at = text.find(from); at != std::string::npos; at = text.find(from, at + to.size())) {
    text.replace(at, from.size(), to);
  }
  return text;
}

std::size_t find_word(std::string_view text, std::string_view word, std::size_t begin) {
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

}  // namespace mos
