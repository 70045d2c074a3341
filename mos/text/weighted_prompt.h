#pragma once

#include <string>
#include <string_view>
#include <vector>

/// What people write into prompts beside words, read as A1111 reads it.
namespace mos::text {

struct WeightedText {
  std::string text;
  double weight = 1.0;
  bool operator==(const WeightedText&) const = default;
};

/// The parts of a prompt between BREAKs; each begins a chunk of tokens of its own. A part has at
/// least one text, and no two neighbours of the same weight.
using WeightedPrompt = std::vector<std::vector<WeightedText>>;

/// Reads
///   (words) 1.1 times the weight, [words] 1/1.1, (words:1.3) 1.3 times; nested they multiply;
///   word++ and (words)++ 1.1 for each +, word-- and (words)- 0.9 for each - (compel);
///   BREAK alone begins a new part;
///   a backslash takes the meaning from ( ) [ ] { } | < > + - and \ itself.
/// A bracket that is never closed reaches to the end, one that was never opened is text, as A1111
/// has it; round and square ones do not see each other. Throws mos::Error(kUsage) for
/// [from:to:when] and [a|b], which change while sampling.
WeightedPrompt parse_weights(std::string_view prompt);

/// Whether all of it is one part of weight 1 with the prompt's very letters.
bool is_plain(const WeightedPrompt& parsed, std::string_view prompt);

}  // namespace mos::text
