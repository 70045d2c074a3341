#pragma once

#include <torch/types.h>

#include <cstdint>
#include <map>
#include <utility>
#include <vector>

#include "mos/nn/attention.h"

/// Attention regularisation: the subject word shall look at the subject, the adjective word not
/// outside it (method.md of the paper's code: `cal_attn_reg`).
namespace mos::tune {

/// Where a concept's first two words stand in the prompts of a batch. K of the B prompts have both
/// words and a subject mask; the others take no part.
struct WordColumns {
  torch::Tensor samples;  ///< [K] int64: which pictures of the batch.
  torch::Tensor columns;  ///< [K,2] int64: text positions of the adjective and of the subject.

  bool empty() const { return !samples.defined() || samples.numel() == 0; }
};

/// Plain cross-attention that adds up the probabilities of two text positions over heads and
/// layers, one sum for each feature size. Gradients flow through what it keeps.
class AttentionRecorder : public nn::AttentionProcessor {
 public:
  explicit AttentionRecorder(WordColumns columns) : columns_(std::move(columns)) {}

  torch::Tensor process(nn::AttentionImpl& attention, const torch::Tensor& hidden_states,
                        const torch::Tensor& context) override;

  struct Map {
    torch::Tensor sum;       ///< [K,N,2] float32, over all heads of all layers with N positions.
    std::int64_t heads = 0;  ///< How many were added.
  };
  /// By number of query positions N.
  const std::map<std::int64_t, Map>& maps() const { return maps_; }
  const WordColumns& columns() const { return columns_; }

 private:
  WordColumns columns_;
  std::map<std::int64_t, Map> maps_;
};

enum class SubjectAttention {
  kStaysInside,  ///< Mean attention outside the mask.
  kFillsMask,    ///< Mean squared difference to the mask (`reg_full_identity`).
};

/// Sum over feature sizes of the subject's and the adjective's term, not weighted. Each map is the
/// mean over layers and heads, divided by its largest value in the batch.
/// masks [B,1,h,w]: the subject masks at latent size, brought to each feature size by nearest
/// neighbours. Where the masks leave no outside, the terms about the outside are dropped (the
/// authors' code drops the whole loss then). Returns a float32 scalar, 0 without samples.
torch::Tensor attention_loss(const AttentionRecorder& recorder, const torch::Tensor& masks,
                             SubjectAttention subject);

}  // namespace mos::tune
