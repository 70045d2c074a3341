#pragma once

#include <torch/types.h>

#include <array>
#include <string>
#include <string_view>
#include <vector>

#include "mos/base/choice.h"

/// Structure Diffusion (Feng et al., arXiv 2212.05032): each noun phrase of a prompt is also
/// encoded alone, so that its adjective stays with its noun.
namespace mos::region {

enum class Structure {
  kNone,
  kValues,       ///< Values of the prompt and of every phrase, their mean.
  kConjunction,  ///< Keys of the prompt and of every phrase, values with all phrases in them.
};
constexpr auto choice_names(Structure) {
  return std::to_array<Named<Structure>>({{"none", Structure::kNone},
                                          {"values", Structure::kValues},
                                          {"conjunction", Structure::kConjunction}});
}

/// What cross-attention reads in the place of the prompt.
struct StructuredText {
  /// [1,S,C] or [1,L,S,C]; undefined: the prompt. Values are linear in their text, so the mean of
  /// several sets of values is that of the mean text.
  torch::Tensor values;
  std::vector<torch::Tensor> more_keys;  ///< Of kConjunction: attention is the mean over all keys.
};

/// A phrase where it stands in a prompt.
struct EncodedPhrase {
  std::int64_t column = 0;  ///< Of its first token.
  std::int64_t tokens = 0;
  torch::Tensor alone;  ///< [1,S,C] or [1,L,S,C]: its own encoding, which begins with the begin.
};

/// The text of `prompt` [1,S,C] or [1,L,S,C]: in the copy of a phrase its tokens are those of its
/// own encoding (reference: multi_align).
StructuredText structured_text(const torch::Tensor& prompt,
                               const std::vector<EncodedPhrase>& phrases, Structure structure);

/// The noun phrases of an English prompt as far as a list of words tells: runs of two or more words
/// between punctuation, articles, prepositions, conjunctions and forms of "to be"; "a red car and a
/// blue house on the hill" has "red car" and "blue house".
std::vector<std::string> noun_phrases(std::string_view prompt);

}  // namespace mos::region
