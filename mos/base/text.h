#pragma once

#include <charconv>
#include <cmath>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <type_traits>
#include <vector>

namespace mos {

/// `text` with every occurrence of `from` replaced by `to`, found from left to right. Nothing is
/// found for an empty `from`.
std::string replaced(std::string text, std::string_view from, std::string_view to);

/// Where the word `word` stands in `text` from `begin` on, or npos. A word that begins or ends with
/// a letter or digit is no part of a longer one: "cat" is not in "scatter". `<cat1>` is found
/// wherever it is, an empty word nowhere.
std::size_t find_word(std::string_view text, std::string_view word, std::size_t begin = 0);
bool has_word(std::string_view text, std::string_view word);

/// `text` with every such occurrence of `word` replaced by `to`.
std::string replaced_word(std::string_view text, std::string_view word, std::string_view to);

/// `text` without blanks, tabs and line ends around it.
std::string trimmed(std::string_view text);

/// `text` with the letters A to Z lowered.
std::string lower_ascii(std::string text);

/// The words of `text`, which blanks, line ends and commas separate.
std::vector<std::string> split_words(std::string_view text);

/// "a, b, c and 401 more": the first `most` of `items` for a message of one line.
std::string listed(const std::vector<std::string>& items, std::size_t most = 5,
                   std::string_view separator = ", ");

/// Whether `text` is UTF-8 as RFC 3629 has it: shortest forms, no surrogates, up to U+10FFFF.
bool is_utf8(std::string_view text);

/// About a line of a terminal: what a message quotes of a value from outside.
inline constexpr std::size_t kQuotedBytes = 160;

/// `text` as it can stand in a line: control characters and bytes that are not UTF-8 become \xNN,
/// and of more than `most` bytes the middle is left out, with its size in its place.
std::string printable(std::string_view text, std::size_t most = kQuotedBytes);

/// All of `text` as a number, or nothing: no blanks, no sign in front but '-', nothing behind, in
/// the range of Number, and finite.
template <typename Number>
std::optional<Number> number_in(std::string_view text) {
  Number number{};
  const auto* end = text.data() + text.size();
  const auto result = std::from_chars(text.data(), end, number);
  if (result.ec != std::errc() || result.ptr != end) return std::nullopt;
  if constexpr (std::is_floating_point_v<Number>) {
    if (!std::isfinite(number)) return std::nullopt;
  }
  return number;
}

}  // namespace mos
