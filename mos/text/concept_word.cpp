#include "mos/text/concept_word.h"

#include <fmt/core.h>
#include <utf8proc.h>

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

std::string unseen_fault(std::string_view word) {
  for (std::size_t at = 0; at < word.size();) {
    const auto size = utf8_character(word.substr(at));
    if (size == 0) return "it is not UTF-8";
    utf8proc_int32_t character = 0;
    utf8proc_iterate(reinterpret_cast<const utf8proc_uint8_t*>(word.data()) + at,
                     static_cast<utf8proc_ssize_t>(size), &character);
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
  const std::string text(word);
  try {
    if (!is_taken_apart(text)) return "";
  } catch (const Error&) {  // nothing but such syntax is refused there
  }
  return "in a prompt it means something else: a file, a choice or a weight";
}

}  // namespace mos::text
