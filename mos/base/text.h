#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

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

/// `text` without blanks, tabs and line ends around it.
std::string trimmed(std::string_view text);

/// `text` with the letters A to Z lowered.
std::string lower_ascii(std::string text);

/// The words of `text`, which blanks, line ends and commas separate.
std::vector<std::string> split_words(std::string_view text);

/// "a, b, c and 401 more": the first `most` of `items` for a message of one line.
std::string listed(const std::vector<std::string>& items, std::size_t most = 5,
                   std::string_view separator = ", ");

}  // namespace mos
