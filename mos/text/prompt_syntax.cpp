#include "mos/text/prompt_syntax.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <cctype>

#include "mos/base/text.h"

namespace mos::text {
namespace {

constexpr std::string_view kNone;

bool is_ascii_letter(char c) { return std::isalpha(static_cast<unsigned char>(c)) != 0; }
bool is_digit(char c) { return std::isdigit(static_cast<unsigned char>(c)) != 0; }
bool is_word_letter(char c) { return is_ascii_letter(c) || is_digit(c) || c == '_'; }

bool is_decimal(std::string_view text) {
  const auto allowed = [](char c) { return is_digit(c) || c == '.' || c == '-' || c == ' '; };
  return std::any_of(text.begin(), text.end(), is_digit) &&
         std::all_of(text.begin(), text.end(), allowed);
}

/// The first part from `open` to the next `close` without another `open` in it whose inside `is`.
template <class Is>
std::string_view bracketed(std::string_view prompt, char open, char close, Is is) {
  auto begin = prompt.npos;
  for (std::size_t i = 0; i < prompt.size(); ++i) {
    if (prompt[i] == open) begin = i;
    if (prompt[i] != close || begin == prompt.npos) continue;
    if (is(prompt.substr(begin + 1, i - begin - 1))) return prompt.substr(begin, i - begin + 1);
    begin = prompt.npos;
  }
  return kNone;
}

/// `<lora:name:0.8>`.
std::string_view file_tag(std::string_view prompt) {
  return bracketed(prompt, '<', '>', [](std::string_view inside) {
    const auto colon = inside.find(':');
    return colon != inside.npos && colon > 0 &&
           std::all_of(inside.begin(), inside.begin() + colon, is_ascii_letter);
  });
}

/// `<lora:name`, which nothing closes.
std::string_view open_file_tag(std::string_view prompt) {
  const auto open = prompt.rfind('<');
  if (open == prompt.npos || (open > 0 && prompt[open - 1] == '\\')) return kNone;
  const auto rest = prompt.substr(open);
  const auto start = lower_ascii(std::string(rest.substr(0, 6)));
  const bool names_file = start == "<lora:" || start == "<lyco:";
  return names_file && rest.find('>') == rest.npos ? rest : kNone;
}

/// ComfyUI's `embedding:name`.
std::string_view embedding_tag(std::string_view prompt) {
  constexpr std::string_view kStart = "embedding:";
  const auto begin = prompt.find(kStart);
  if (begin == prompt.npos || (begin > 0 && is_word_letter(prompt[begin - 1]))) return kNone;
  const auto end = std::min(prompt.find_first_of(" ,)", begin), prompt.size());
  return end > begin + kStart.size() ? prompt.substr(begin, end - begin) : kNone;
}

/// InvokeAI's `(word)1.4`.
std::string_view trailing_factor(std::string_view prompt) {
  for (std::size_t i = 0; i + 1 < prompt.size(); ++i) {
    if (prompt[i] == ')' && is_digit(prompt[i + 1])) return prompt.substr(i, 2);
  }
  return kNone;
}

/// `(word:1.4)`, `((word))`, and compel's `(word)++`, `word++`.
std::string_view weight(std::string_view prompt) {
  const auto ends_in_number = [](std::string_view inside) {
    const auto colon = inside.rfind(':');
    return colon != inside.npos && is_decimal(inside.substr(colon + 1));
  };
  const auto part = bracketed(prompt, '(', ')', ends_in_number);
  if (!part.empty()) return part;
  for (std::size_t i = 0; i + 1 < prompt.size(); ++i) {
    const auto pair = prompt.substr(i, 2);
    const bool is_raised =
        pair == "++" && i > 0 && (is_ascii_letter(prompt[i - 1]) || prompt[i - 1] == ')');
    if (pair == "((" || pair == "[[" || is_raised) return pair;
  }
  return kNone;
}

/// `(word:nan)`.
std::string_view no_weight(std::string_view prompt) {
  return bracketed(prompt, '(', ')', [](std::string_view inside) {
    const auto colon = inside.rfind(':');
    if (colon == inside.npos) return false;
    auto number = lower_ascii(trimmed(inside.substr(colon + 1)));
    if (number.starts_with('-') || number.starts_with('+')) number.erase(0, 1);
    return number == "nan" || number == "inf" || number == "infinity";
  });
}

/// `[from:to:0.5]`, `[a|b]`.
std::string_view change(std::string_view prompt) {
  return bracketed(prompt, '[', ']', [](std::string_view inside) {
    const auto colon = inside.rfind(':');
    return inside.find('|') != inside.npos ||
           (colon != inside.npos && is_decimal(inside.substr(colon + 1)));
  });
}

/// `{red|blue}`.
std::string_view choice(std::string_view prompt) {
  return bracketed(prompt, '{', '}',
                   [](std::string_view inside) { return inside.find('|') != inside.npos; });
}

/// `{red|blue`, which nothing closes.
std::string_view open_choice(std::string_view prompt) {
  const auto open = prompt.rfind('{');
  if (open == prompt.npos || (open > 0 && prompt[open - 1] == '\\')) return kNone;
  const auto rest = prompt.substr(open);
  return rest.find('}') == rest.npos && rest.find('|') != rest.npos ? rest : kNone;
}

/// A number in a choice with the `mark` behind it, where one of `before` stands before it.
std::string_view choice_number(std::string_view prompt, std::string_view mark,
                               std::string_view before) {
  for (auto at = prompt.find(mark); at != prompt.npos; at = prompt.find(mark, at + 1)) {
    auto begin = at;
    while (begin > 0 && (is_digit(prompt[begin - 1]) || prompt[begin - 1] == '.' ||
                         prompt[begin - 1] == '-' || prompt[begin - 1] == ' ')) {
      --begin;
    }
    const bool is_one = begin > 0 && before.find(prompt[begin - 1]) != before.npos &&
                        (begin == 1 || prompt[begin - 2] != '\\');
    if (is_one && prompt.rfind('{', at) != prompt.npos) {
      return prompt.substr(begin, at + mark.size() - begin);
    }
  }
  return kNone;
}

/// `0.9::` of `{0.9::red|0.1::blue}`.
std::string_view choice_weight(std::string_view prompt) {
  return choice_number(prompt, "::", "{|");
}
/// `2$$` of `{2$$red|green|blue}`.
std::string_view choice_count(std::string_view prompt) { return choice_number(prompt, "$$", "{"); }

/// `__colour__`.
std::string_view named_choice(std::string_view prompt) {
  const auto begin = prompt.find("__");
  if (begin == prompt.npos || begin + 2 >= prompt.size()) return kNone;
  const auto end = std::find_if_not(prompt.begin() + begin + 2, prompt.end(), is_word_letter);
  const auto name = prompt.substr(begin, static_cast<std::size_t>(end - prompt.begin()) - begin);
  return name.size() > 4 && name.ends_with("__") ? name : kNone;
}

/// `word` alone among words in small letters.
std::string_view joiner(std::string_view prompt, std::string_view word) {
  if (std::none_of(prompt.begin(), prompt.end(), [](char c) { return c >= 'a' && c <= 'z'; })) {
    return kNone;
  }
  const auto begin = prompt.find(word);
  if (begin == prompt.npos) return kNone;
  const auto end = begin + word.size();
  const bool is_tail = begin > 0 && is_word_letter(prompt[begin - 1]);
  const bool is_head = end < prompt.size() && is_word_letter(prompt[end]);
  return is_tail || is_head ? kNone : prompt.substr(begin, word.size());
}
std::string_view conjunction(std::string_view prompt) { return joiner(prompt, "AND"); }
std::string_view chunk_break(std::string_view prompt) { return joiner(prompt, "BREAK"); }

/// `\(`, which means a bracket that is no weight.
std::string_view escape(std::string_view prompt) {
  for (std::size_t i = 0; i + 1 < prompt.size(); ++i) {
    if (prompt[i] == '\\' && (prompt[i + 1] == '(' || prompt[i + 1] == ')')) {
      return prompt.substr(i, 2);
    }
  }
  return kNone;
}

struct Kind {
  std::string_view (*find)(std::string_view);
  /// Behind "… is read as plain text" in a prompt; null: prompts know it.
  const char* advice = nullptr;
};
constexpr std::array kKinds = {
    Kind{file_tag},
    Kind{open_file_tag, ", since nothing closes its bracket; write <lora:name:0.8>"},
    Kind{embedding_tag, "; write the word alone and give its file with --concept"},
    Kind{trailing_factor, ", since words have no weights behind a bracket; write (words:1.4)"},
    Kind{no_weight, ", since it ends in no weight; write (words:1.4)"},
    Kind{named_choice, ", since no lists of words are read; write {a|b}"},
    Kind{choice_weight,
         ", since choices have no weights; write a text twice to draw it more often"},
    Kind{choice_count, ", since a choice draws one text; write {a|b} as often as needed"},
    Kind{open_choice, ", since nothing closes its brace; write {a|b}"},
    Kind{weight},
    Kind{change},
    Kind{choice},
    Kind{conjunction, "; what stands beside each other is best said with --regions or --scene"},
    Kind{chunk_break},
    Kind{escape},
};

}  // namespace

std::vector<std::string> foreign_syntax(std::string_view prompt) {
  std::vector<std::string> sentences;
  for (const auto& kind : kKinds) {
    if (kind.advice == nullptr) continue;
    if (const auto part = kind.find(prompt); !part.empty()) {
      sentences.push_back(fmt::format("{} is read as plain text{}", part, kind.advice));
    }
  }
  return sentences;
}

std::vector<std::string> prompt_syntax(std::string_view text) {
  std::vector<std::string> parts;
  for (const auto& kind : kKinds) {
    if (const auto part = kind.find(text); !part.empty()) parts.emplace_back(part);
  }
  return parts;
}

}  // namespace mos::text
