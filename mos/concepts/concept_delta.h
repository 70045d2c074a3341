#pragma once

#include <torch/types.h>

#include <cstdint>
#include <map>
#include <string>
#include <vector>

/// What a client sends to the centre, as a value.
namespace mos::concepts {

/// One word of a concept, e.g. `<potter1>`, and what it stands for in each prompt of a layer-wise
/// text (P+): row l for cross-attention layer l.
struct ConceptWord {
  std::string word;
  torch::Tensor rows;  ///< [L,C] float32; [1,C] when all layers share one row.
};

/// Low-rank update of one layer: ΔW = scale · up · down.
struct LoraPair {
  torch::Tensor down;  ///< [r,I] or [r,I,1,1] float32.
  torch::Tensor up;    ///< [O,r] or [O,r,1,1] float32.
  /// Part of the file, 1 for our own: kohya's network_alpha / rank. The user's merge_scale (the
  /// authors' alpha) multiplies it.
  double scale = 1.0;

  std::int64_t rank() const { return down.size(0); }
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

/// ΔW of one pair, float32, in the shape of the layer's weight ([O,I] or [O,I,1,1]).
torch::Tensor lora_update(const LoraPair& pair);

}  // namespace mos::concepts
