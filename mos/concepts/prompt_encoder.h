#pragma once

#include <torch/types.h>

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "mos/concepts/tokens.h"
#include "mos/diffusion/text_tower.h"
#include "mos/nn/conditioning.h"
#include "mos/text/clip_tokenizer.h"

/// Prompts as people write them, with weights, BREAK and any length, as the U-Net reads them.
namespace mos::concepts {

struct PromptOptions {
  bool plain_text = false;     ///< Prompts are words alone, cut where the encoder ends.
  std::int64_t clip_skip = 1;  ///< 1: the last layer of the text encoder, 2: the one before, …
};

/// Chunks that `prompt` fills; 1 for plain text. Throws kUsage as text::parse_weights does.
std::int64_t chunks_of(const ConceptTokens& tokens, const text::CLIPTokenizer& tokenizer,
                       std::string_view prompt, const PromptOptions& options);

/// Whether `prompt` asks for anything but plain text: weights, an escape, or more than one chunk.
bool has_syntax(const ConceptTokens& tokens, const text::CLIPTokenizer& tokenizer,
                std::string_view prompt);

/// The tokens of `prompt` where they stand in the context that the U-Net reads: [k·S] ids, begin,
/// end and padding of every chunk with them; of the first text of a layer-wise one.
std::vector<std::int64_t> tokens_in_context(const ConceptTokens& tokens,
                                            const text::CLIPTokenizer& tokenizer,
                                            const std::string& prompt,
                                            const PromptOptions& options);

/// The places of the first `phrase` in `context` (tokens_in_context), one for each of its tokens;
/// empty where it does not occur.
std::vector<std::int64_t> columns_of(const ConceptTokens& tokens,
                                     const text::CLIPTokenizer& tokenizer,
                                     const std::vector<std::int64_t>& context,
                                     const std::string& phrase);

/// What the U-Net reads for pairs of prompts (each with its negative one): for each of `prompts` a
/// context [1,k·S,C], or [1,L,k·S,C] when any of all prompts has a concept word, k the chunks of
/// the longer one of a pair; the shorter one is filled with the states of the empty prompt. Where
/// nothing asks for more than plain text, these are the very numbers of encode_prompts.
///
/// Weights multiply a token's state, and the mean of each chunk is put back to what it was (A1111).
/// Every distinct chunk runs through each encoder once. What is pooled is of the first chunk.
/// Throws kUsage for an odd number of prompts, for a clip_skip beyond the encoder's layers, and as
/// text::parse_weights does.
std::vector<nn::Conditioning> encode_pairs(const ConceptTokens& tokens,
                                           std::span<const diffusion::TextTower> towers,
                                           std::span<const std::string> prompts,
                                           const PromptOptions& options);

/// What the U-Net reads of token ids [B,S] with `clip_skip`: the states of that layer, with the
/// encoder's final norm where the tower's own have it.
nn::Conditioning encode_ids(const diffusion::TextTower& tower, const torch::Tensor& ids,
                            std::int64_t clip_skip);

}  // namespace mos::concepts
