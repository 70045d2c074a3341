#pragma once

#include <string>
#include <string_view>
#include <vector>

/// What a concept may be called in prompts.
namespace mos::text {

/// Why no prompt can hold `word` as the name of a concept ("it is blank"); empty where one can.
/// Brackets are no fault, as prompts can escape them, nor are single words with blanks between.
std::string word_fault(std::string_view word);

/// The same of a word that is chosen now: nobody should have to escape it, and it is one word.
std::string new_word_fault(std::string_view word);

/// What looks like words of concepts in `prompt`: "<", letters and digits, ">".
std::vector<std::string> bracketed_words(std::string_view prompt);

/// What `character`, one in UTF-8, is that nobody sees in a prompt or tells from a plain blank, "an
/// invisible character, U+200B"; empty for any other.
std::string unseen_character(std::string_view character);

}  // namespace mos::text
