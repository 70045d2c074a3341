#pragma once

#include <torch/types.h>

#include <cstdint>
#include <map>
#include <string>
#include <vector>

/// What a client sends to the centre, as a value.
namespace mos::concepts {

/// One word of a concept, e.g. `<potter1>`, and what it stands for in each prompt of a layer-wise
/// text (P+): one token, or n tokens of a Textual Inversion with n vectors.
struct ConceptWord {
  std::string word;
  /// [L·n,C], row l·n + k for token k in the prompt of cross-attention layer l; [n,C] when all
  /// layers share their rows. Any float dtype.
  torch::Tensor rows;
  std::int64_t vectors = 1;  ///< n, tokens in a prompt.

  /// L, or 1 when all layers share their rows.
  std::int64_t layers() const { return rows.size(0) / vectors; }
};

/// Low-rank update of one layer: ΔW = scale · up · down.
struct LoraPair {
  torch::Tensor down;  ///< [r,I] or [r,channels,k,k], any float dtype.
  torch::Tensor up;    ///< [O,r] or [O,r,1,1], any float dtype.
  /// Part of the file, 1 for our own: kohya's alpha / rank. The user's merge_scale (the authors'
  /// alpha) multiplies it.
  double scale = 1.0;

  std::int64_t rank() const { return down.size(0); }
  double alpha() const { return scale * static_cast<double>(rank()); }  ///< kohya's.
};

/// Pairs by the dotted name of their layer, e.g.
/// `down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q`.
using LoraPairs = std::map<std::string, LoraPair>;

/// A tuned concept: its words in prompt order (random word, class word) and its LoRA.
struct ConceptDelta {
  std::vector<ConceptWord> words;
  LoraPairs text_encoder;
  LoraPairs unet;
  std::map<std::string, std::string> metadata;

  /// The words as they stand in a prompt: "<potter1> <potter2>".
  std::string phrase() const;
};

/// ΔW of one pair, float32, in the shape of the layer's weight ([O,I] or [O,channels,k,k]).
torch::Tensor lora_update(const LoraPair& pair);

}  // namespace mos::concepts
