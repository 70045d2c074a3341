#include "mos/text/concept_word.h"

#include <fmt/core.h>
#include <utf8proc.h>

#include <cctype>

#include "mos/base/error.h"
#include "mos/base/utf8.h"
#include "mos/text/prompt_tags.h"
#include "mos/text/weighted_prompt.h"

namespace mos::text {
namespace {

/// What a character is that nobody sees in a prompt, or tells from a plain blank; else null.
const char* unseen(utf8proc_int32_t character) {
  switch (utf8proc_category(character)) {
    case UTF8PROC_CATEGORY_ZS:
      return character == ' ' ? nullptr : "a blank";
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP:
      return "a line break";
    case UTF8PROC_CATEGORY_CC:
      return "a control character";
    case UTF8PROC_CATEGORY_CF:
      return "an invisible character";
    case UTF8PROC_CATEGORY_CN:
    case UTF8PROC_CATEGORY_CS:
      return "no character of Unicode";
    default:
      return nullptr;
  }
}

utf8proc_int32_t code_of(std::string_view character) {
  utf8proc_int32_t code = 0;
  utf8proc_iterate(reinterpret_cast<const utf8proc_uint8_t*>(character.data()),
                   static_cast<utf8proc_ssize_t>(character.size()), &code);
  return code;
}

bool is_word_letter(char c) {
  return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '-' || c == '_';
}

std::string unseen_fault(std::string_view word) {
  for (std::size_t at = 0; at < word.size();) {
    const auto size = utf8_character(word.substr(at));
    if (size == 0) return "it is not UTF-8";
    const auto character = code_of(word.substr(at, size));
    if (const auto* what = unseen(character)) {
      return fmt::format("it has {} in it, U+{:04X}", what, static_cast<unsigned>(character));
    }
    at += size;
  }
  return "";
}

bool is_taken_apart(const std::string& word) {
  return !is_plain(parse_weights(word), word) || has_choice(word) ||
         !take_lora_tags(word).loras.empty();
}

}  // namespace

std::string word_fault(std::string_view word) {
  if (word.find_first_not_of(' ') == word.npos) return "it is blank";
  if (word.front() == ' ' || word.back() == ' ') return "it begins or ends with a blank";
  if (word == "BREAK") return "it separates the chunks of a prompt";
  if (word == "<|startoftext|>" || word == "<|endoftext|>") {
    return "it is what the text encoder itself puts around prompts";
  }
  return unseen_fault(word);
}

std::string new_word_fault(std::string_view word) {
  if (auto fault = word_fault(word); !fault.empty()) return fault;
  if (word.find(' ') != word.npos) return "it has a blank in it";
  if ((word.front() == '<') != (word.back() == '>')) return "its angle brackets are no pair";
  const std::string text(word);
  try {
    if (!is_taken_apart(text)) return "";
  } catch (const Error&) {  // nothing but such syntax is refused there
  }
  return "in a prompt it means something else: a file, a choice or a weight";
}

std::vector<std::string> bracketed_words(std::string_view prompt) {
  std::vector<std::string> words;
  for (auto begin = prompt.find('<'); begin != prompt.npos; begin = prompt.find('<', begin + 1)) {
    auto end = begin + 1;
    while (end < prompt.size() && is_word_letter(prompt[end])) ++end;
    if (end > begin + 1 && end < prompt.size() && prompt[end] == '>') {
      words.emplace_back(prompt.substr(begin, end - begin + 1));
    }
  }
  return words;
}

std::string unseen_character(std::string_view character) {
  const auto code = code_of(character);
  const auto* what = unseen(code);
  return what == nullptr ? "" : fmt::format("{}, U+{:04X}", what, static_cast<unsigned>(code));
}

}  // namespace mos::text
