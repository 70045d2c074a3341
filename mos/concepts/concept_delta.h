#pragma once

#include <torch/types.h>

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "mos/checkpoint/part.h"
#include "mos/concepts/layer_update.h"

/// What a client sends to the centre, as a value.
namespace mos::concepts {

/// The rows of a word in the token embedding of each text encoder: a map that is mostly one tensor,
/// and made of one where a model has one encoder.
class TowerRows {
 public:
  TowerRows() = default;
  TowerRows(torch::Tensor rows) {  // NOLINT: Stable Diffusion 1.x and 2.x have one encoder
    by_part_.emplace(checkpoint::Part::kTextEncoder, std::move(rows));
  }

  bool empty() const { return by_part_.empty(); }
  /// Rows in each encoder. Required: it has some.
  std::int64_t count() const { return first().size(0); }
  /// Those of the first encoder, for files that have room for one. Required: it has some.
  const torch::Tensor& first() const { return by_part_.begin()->second; }
  /// Undefined for an encoder that has none.
  torch::Tensor of(checkpoint::Part part) const;
  void set(checkpoint::Part part, torch::Tensor rows) { by_part_[part] = std::move(rows); }
  /// `change` of each tensor.
  TowerRows changed(const std::function<torch::Tensor(const torch::Tensor&)>& change) const;

  auto begin() const { return by_part_.begin(); }
  auto end() const { return by_part_.end(); }

 private:
  std::map<checkpoint::Part, torch::Tensor> by_part_;
};

/// One word of a concept, e.g. `<potter1>`, and what it stands for in each prompt of a layer-wise
/// text (P+): one token, or n tokens of a Textual Inversion with n vectors.
struct ConceptWord {
  std::string word;
  /// By text encoder: [L·n,C], row l·n + k for token k in text l of a prompt (nn::TextSlices);
  /// [n,C] when all layers share their rows. As many rows in each encoder. Any float dtype.
  TowerRows rows;
  std::int64_t vectors = 1;  ///< n, tokens in a prompt.
  /// Another name that the word also has in prompts, unless something else is called so: what the
  /// author of an A1111 embedding called it. Empty: none.
  std::string alias = {};

  /// L, or 1 when all layers share their rows.
  std::int64_t layers() const { return rows.count() / vectors; }
};

/// A tuned concept: its words in prompt order (random word, class word) and what it changes in the
/// layers.
struct ConceptDelta {
  std::vector<ConceptWord> words;
  std::map<checkpoint::Part, LayerUpdates>
      updates;  ///< By network; one without is as an empty one.
  std::map<std::string, std::string> metadata;

  /// The words as they stand in a prompt: "<potter1> <potter2>".
  std::string phrase() const;
  /// Of one network; none where it has no entry.
  const LayerUpdates& of(checkpoint::Part part) const;
  /// Layers that it changes, of all networks.
  std::size_t layer_count() const;
};

}  // namespace mos::concepts
