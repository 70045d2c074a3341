#include <fmt/core.h>

#include <algorithm>

#include "mos/base/error.h"
#include "mos/base/text.h"
#include "mos/text/foreign_prompt.h"
#include "mos/text/prompt_pieces.h"

namespace mos::text {
namespace {

/// Whether the bracket at `at` is one, and no letter.
bool is_bracket(std::string_view text, std::size_t at, char kind) {
  return text[at] == kind && (at == 0 || text[at - 1] != '\\');
}

/// Texts and whole brackets, side by side. One that closes nothing takes a bracket from those that
/// follow, as there.
std::vector<std::string_view> split_brackets(std::string_view text) {
  std::vector<std::string_view> parts;
  std::size_t begin = 0;
  std::int64_t level = 0;
  for (std::size_t at = 0; at < text.size(); ++at) {
    if (is_bracket(text, at, '(') && level++ == 0) {
      if (at > begin) parts.push_back(text.substr(begin, at - begin));
      begin = at;
    } else if (is_bracket(text, at, ')') && --level == 0) {
      parts.push_back(text.substr(begin, at + 1 - begin));
      begin = at + 1;
    }
  }
  if (begin < text.size()) parts.push_back(text.substr(begin));
  return parts;
}

void read_into(std::string_view text, double outer, std::size_t depth,
               std::vector<PromptPiece>& pieces) {
  if (depth > kMostBrackets) {
    throw Error(ErrorKind::kUsage,
                fmt::format("a prompt has more than {} brackets in brackets", kMostBrackets));
  }
  for (auto one : split_brackets(text)) {
    const bool is_whole =
        one.size() >= 2 && is_bracket(one, 0, '(') && is_bracket(one, one.size() - 1, ')');
    if (!is_whole) {
      auto plain = replaced(replaced(std::string(one), "\\(", "("), "\\)", ")");
      if (!plain.empty()) pieces.push_back({{std::move(plain), outer}});
      continue;
    }
    one = one.substr(1, one.size() - 2);
    double weight = outer * kBracketWeight;
    const auto colon = one.rfind(':');
    if (colon != one.npos && colon > 0) {
      auto digits = trimmed(std::string(one.substr(colon + 1)));
      if (digits.starts_with('+')) digits.erase(0, 1);
      if (const auto number = number_in<double>(digits)) {
        weight = *number;
        one = one.substr(0, colon);
      }
    }
    read_into(one, weight, depth + 1, pieces);
  }
}

}  // namespace

WeightedPrompt parse_comfyui(std::string_view prompt) {
  std::vector<PromptPiece> pieces;
  read_into(prompt, 1.0, 0, pieces);
  return joined(pieces);
}

NamedEmbeddings take_embeddings(std::string_view prompt) {
  constexpr std::string_view kStart = "embedding:";
  NamedEmbeddings taken;
  std::size_t begin = 0;
  for (auto at = prompt.find(kStart); at != prompt.npos; at = prompt.find(kStart, at + 1)) {
    const bool begins = at == 0 || std::string_view(" \n(").find(prompt[at - 1]) != prompt.npos;
    const auto from = at + kStart.size();
    const auto end = std::min(prompt.find_first_of(" \n,():", from), prompt.size());
    auto name = std::string(prompt.substr(from, end - from));
    name.erase(0, name.find_last_of("/\\") + 1);
    for (const std::string_view ending : {".safetensors", ".pt", ".bin"}) {
      if (name.ends_with(ending)) name.erase(name.size() - ending.size());
    }
    if (!begins || name.empty()) continue;
    taken.prompt += std::string(prompt.substr(begin, at - begin)) + name;
    taken.names.push_back(std::move(name));
    begin = end;
  }
  taken.prompt += prompt.substr(begin);
  return taken;
}

}  // namespace mos::text
