#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

/// What CLIP's tokenizer does to a text before byte pair encoding.
namespace mos::text {

/// Drops control characters, makes every kind of space one space, sets Chinese characters apart,
/// composes (NFC) and lowers: `BasicTokenizer(strip_accents=False, do_split_on_punc=False)` of
/// transformers since 4.31. Returns UTF-8 words with single spaces between them; bytes that are
/// not UTF-8 are dropped.
std::string clean_text(std::string_view text);

/// Cuts cleaned text into the pieces that byte pair encoding works on, in the manner of CLIP's
/// regular expression: any of `whole` as it is, 's 't 're 've 'm 'll 'd, letters, one digit,
/// or a run of other characters. The pieces view into `text`.
std::vector<std::string_view> split_pieces(std::string_view text,
                                           const std::vector<std::string>& whole);

/// UTF-8 of one code point.
void append_utf8(std::string& text, std::int32_t code_point);

}  // namespace mos::text
