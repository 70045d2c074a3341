#pragma once

#include <string>
#include <string_view>

namespace mos {

/// `text` with every occurrence of `from` (not empty) replaced by `to`, found from left to right.
std::string replaced(std::string text, std::string_view from, std::string_view to);

/// Where the word `word` (not empty) stands in `text` from `begin` on, or npos. A word that begins
/// or ends with a letter or digit is no part of a longer one: "cat" is not in "scatter". `<cat1>`
/// is found wherever it is.
std::size_t find_word(std::string_view text, std::string_view word, std::size_t begin = 0);
bool has_word(std::string_view text, std::string_view word);

/// `text` with every such occurrence of `word` replaced by `to`.
std::string replaced_word(std::string_view text, std::string_view word, std::string_view to);

}  // namespace mos
