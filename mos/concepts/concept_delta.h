#pragma once

#include <torch/types.h>

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "mos/concepts/layer_update.h"

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
  /// Another name that the word also has in prompts, unless something else is called so: what the
  /// author of an A1111 embedding called it. Empty: none.
  std::string alias = {};

  /// L, or 1 when all layers share their rows.
  std::int64_t layers() const { return rows.size(0) / vectors; }
};

/// A tuned concept: its words in prompt order (random word, class word) and what it changes in the
/// layers.
struct ConceptDelta {
  std::vector<ConceptWord> words;
  LayerUpdates text_encoder;
  LayerUpdates unet;
  std::map<std::string, std::string> metadata;

  /// The words as they stand in a prompt: "<potter1> <potter2>".
  std::string phrase() const;
};

}  // namespace mos::concepts
