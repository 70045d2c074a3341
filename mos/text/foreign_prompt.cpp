#include "mos/text/foreign_prompt.h"

#include <fmt/core.h>

#include <algorithm>
#include <cctype>
#include <cmath>
#include <optional>

#include "mos/base/error.h"
#include "mos/base/text.h"
#include "mos/text/prompt_pieces.h"
#include "mos/text/prompt_tags.h"

namespace mos::text {
namespace {

/// Whose syntax a text is written in.
enum class Syntax { kOurs, kA1111 };

/// Whether the `<` at `at` begins a tag of a file.
bool begins_tag(std::string_view text, std::size_t at) {
  auto end = at + 1;
  while (end < text.size() && is_word_byte(text[end])) ++end;
  return end > at + 1 && end < text.size() && text[end] == ':';
}

/// Whether the sign at `at` stands in a row of at least two.
bool is_in_row(std::string_view text, std::size_t at) {
  return (at > 0 && text[at - 1] == text[at]) || (at + 1 < text.size() && text[at + 1] == text[at]);
}

/// Words that mean something in capitals; the text encoder reads small letters.
std::string without_joiners(std::string text, Syntax syntax) {
  for (const std::string_view joiner : {kBreak, std::string_view("AND")}) {
    if (joiner == "AND" && syntax == Syntax::kOurs) continue;
    for (auto at = text.find(joiner); at != text.npos; at = text.find(joiner, at + 1)) {
      const auto end = at + joiner.size();
      const bool is_part =
          (at > 0 && std::isalnum(static_cast<unsigned char>(text[at - 1]))) ||
          (end < text.size() && std::isalnum(static_cast<unsigned char>(text[end])));
      if (!is_part) text.replace(at, joiner.size(), lower_ascii(std::string(joiner)));
    }
  }
  return text;
}

/// `text` so that nothing in it has a meaning.
std::string escaped(const std::string& given, Syntax syntax) {
  const auto text = without_joiners(given, syntax);
  const std::string_view always = syntax == Syntax::kOurs ? "()[]{\\" : "()[]\\";
  std::string result;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    const bool is_tag = c == '<' && begins_tag(text, i);
    const bool is_sign = (c == '+' || c == '-') && is_in_row(text, i);
    const bool is_marked =
        always.find(c) != always.npos || (syntax == Syntax::kOurs && (is_tag || is_sign));
    if (is_marked) result += '\\';
    result += c;
    // A1111 finds tags in spite of a backslash before them, but none with one in its name.
    if (is_tag && syntax == Syntax::kA1111) result += '\\';
  }
  return result;
}

/// Without an exponent, which A1111 does not read.
std::string shown(double weight) {
  auto digits = fmt::format("{:.6f}", weight);
  digits.erase(digits.find_last_not_of('0') + 1);
  if (digits.ends_with('.')) digits.pop_back();
  return digits;
}

std::string written(const WeightedPrompt& prompt, Syntax syntax) {
  std::string text;
  for (std::size_t i = 0; i < prompt.size(); ++i) {
    if (i > 0) text += " BREAK ";
    std::string part;
    for (const auto& [words, weight] : prompt[i]) {
      const auto plain = escaped(words, syntax);
      part += weight == 1.0 ? plain : fmt::format("({}:{})", plain, shown(weight));
    }
    text += prompt.size() == 1 ? part : trimmed(part);
  }
  return text;
}

/// Without blanks at its ends, which no tokenizer reads, and without empty texts.
std::vector<WeightedText> bare(std::vector<WeightedText> part) {
  const auto drop_empty = [&part] {
    std::erase_if(part, [](const WeightedText& piece) { return piece.text.empty(); });
    return !part.empty();
  };
  const auto is_space = [](char c) { return std::isspace(static_cast<unsigned char>(c)) != 0; };
  while (drop_empty() && is_space(part.front().text.front())) part.front().text.erase(0, 1);
  while (drop_empty() && is_space(part.back().text.back())) part.back().text.pop_back();
  return part;
}

bool are_alike(const WeightedPrompt& one, const WeightedPrompt& other) {
  constexpr double kRounding = 1e-6;
  return std::equal(
      one.begin(), one.end(), other.begin(), other.end(), [](const auto& a, const auto& b) {
        const auto left = bare(a), right = bare(b);
        return std::equal(left.begin(), left.end(), right.begin(), right.end(),
                          [](const WeightedText& x, const WeightedText& y) {
                            return x.text == y.text && std::abs(x.weight - y.weight) < kRounding;
                          });
      });
}

bool names_a_file(std::string_view text) {
  for (auto at = text.find('<'); at != text.npos; at = text.find('<', at + 1)) {
    if (begins_tag(text, at) && (at == 0 || text[at - 1] != '\\')) return true;
  }
  return false;
}

using Parse = WeightedPrompt (*)(std::string_view);

/// What `parse` reads, or nothing where it refuses the text.
std::optional<WeightedPrompt> read_by(Parse parse, std::string_view prompt) {
  try {
    return parse(prompt);
  } catch (const Error&) {
    return std::nullopt;
  }
}

/// `prompt`, which says in another syntax what `parse` reads, in ours.
std::string in_ours(std::string_view prompt, Parse parse) {
  const auto theirs = read_by(parse, prompt);
  if (!theirs) return std::string(prompt);
  const auto ours = read_by(parse_weights, prompt);
  const bool is_ours =
      ours && !has_choice(prompt) && !names_a_file(prompt) && are_alike(*ours, *theirs);
  return is_ours ? std::string(prompt) : written(*theirs, Syntax::kOurs);
}

}  // namespace

std::string from_a1111(std::string_view prompt) { return in_ours(prompt, parse_a1111); }
std::string from_comfyui(std::string_view prompt) { return in_ours(prompt, parse_comfyui); }
std::string from_compel(std::string_view prompt) { return in_ours(prompt, parse_compel); }

bool has_weights(std::string_view prompt, WeightedPrompt (*parse)(std::string_view)) {
  const auto parts = read_by(parse, prompt);
  return parts && std::ranges::any_of(*parts, [](const auto& part) {
           return std::ranges::any_of(part, [](const auto& piece) { return piece.weight != 1.0; });
         });
}

std::string to_a1111(std::string_view prompt, bool plain_text) {
  const auto ours = plain_text ? WeightedPrompt{{{std::string(prompt)}}} : parse_weights(prompt);
  const auto theirs = read_by(parse_a1111, prompt);
  const bool is_theirs = theirs && !names_a_file(prompt) && are_alike(*theirs, ours);
  return is_theirs ? std::string(prompt) : written(ours, Syntax::kA1111);
}

}  // namespace mos::text
