#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "mos/text/weighted_prompt.h"

/// What the readers of prompts have in common, whoever's syntax they read.
namespace mos::text {

constexpr double kBracketWeight = 1.1;
constexpr std::size_t kMostBrackets = 1000;  ///< In brackets; weights overflow long before.
constexpr std::string_view kBreak = "BREAK";

/// A text, or a BREAK.
struct PromptPiece {
  WeightedText weighted;
  bool is_break = false;
  bool is_escaped = false;  ///< A letter whose meaning a backslash took.
};

/// The parts between the BREAKs of `pieces`: neighbours of one weight are one text.
WeightedPrompt joined(const std::vector<PromptPiece>& pieces);

/// Of square brackets that `pieces` are in from `first` on: their inside, if that is `from:to:0.5`
/// or `a|b`, which change while sampling.
std::optional<std::string> change_in(const std::vector<PromptPiece>& pieces, std::size_t first);

/// Whether a byte is of a letter, a digit or a line below; all beyond ASCII are.
bool is_word_byte(char c);

}  // namespace mos::text
