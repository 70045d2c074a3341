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

/// Where the words of K pictures look, and where their subjects are.
struct AttentionMaps {
  /// By number of query positions N: [K,N,2] float32, means over layers and heads.
  std::map<std::int64_t, torch::Tensor> means;
  torch::Tensor masks;  ///< [K,1,h,w] float32 at latent size; undefined without pictures.
};

/// What `recorder` saw of a batch with these subject masks [B,1,h,w].
AttentionMaps maps_of(const AttentionRecorder& recorder, const torch::Tensor& masks);

/// The maps of all pictures of `parts`, in their order.
AttentionMaps joined(const std::vector<AttentionMaps>& parts);

/// Sum over feature sizes of the subject's and the adjective's term, not weighted. Each map is
/// divided by its largest value in the batch. Masks are brought to each feature size by nearest
/// neighbours. Where they leave no outside, the terms about the outside are dropped (the authors'
/// code drops the whole loss then). Returns a float32 scalar, 0 without pictures.
torch::Tensor attention_loss(const AttentionMaps& maps, SubjectAttention subject);

}  // namespace mos::tune
