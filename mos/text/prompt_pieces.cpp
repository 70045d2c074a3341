#include "mos/text/prompt_pieces.h"

#include <cctype>

#include "mos/base/text.h"

namespace mos::text {

WeightedPrompt joined(const std::vector<PromptPiece>& pieces) {
  WeightedPrompt parts(1);
  for (const auto& [weighted, is_break, is_escaped] : pieces) {
    if (is_break) {
      parts.emplace_back();
    } else if (!parts.back().empty() && parts.back().back().weight == weighted.weight) {
      parts.back().back().text += weighted.text;
    } else {
      parts.back().push_back(weighted);
    }
  }
  for (auto& part : parts) {
    if (part.empty()) part.push_back({});
  }
  return parts;
}

std::optional<std::string> change_in(const std::vector<PromptPiece>& pieces, std::size_t first) {
  std::string inside;
  for (auto i = first; i < pieces.size(); ++i) {
    if (!pieces[i].is_escaped) inside += pieces[i].weighted.text;
  }
  const auto colon = inside.rfind(':');
  const bool has_number = colon != inside.npos &&
                          number_in<double>(trimmed(std::string_view(inside).substr(colon + 1)));
  if (!has_number && inside.find('|') == inside.npos) return std::nullopt;
  return inside;
}

bool is_word_byte(char c) {
  return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_' ||
         static_cast<unsigned char>(c) >= 0x80;
}

}  // namespace mos::text
