#pragma once

#include <torch/nn/module.h>
#include <torch/nn/pimpl.h>
#include <torch/types.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "mos/nn/linear.h"

namespace mos::nn {

class AttentionImpl;

/// diffusers' seam: how one attention layer turns hidden states and context into its output. The
/// kinds other than the plain one live with their users (attention loss, regional sampling).
class AttentionProcessor {
 public:
  virtual ~AttentionProcessor() = default;
  /// hidden_states [B,N,query_dim]; context [B,S,C], [B,L,S,C], or undefined for self-attention.
  /// Returns [B,N,query_dim], after to_out.
  virtual torch::Tensor process(AttentionImpl& attention, const torch::Tensor& hidden_states,
                                const torch::Tensor& context) = 0;
  /// What self-attention gives if every position looks at itself alone: V in the place of
  /// softmax(QKᵀ)V. [B,N,query_dim], of any pictures of a call.
  virtual torch::Tensor identity(AttentionImpl& attention, const torch::Tensor& hidden_states);
};

struct AttentionSize {
  std::int64_t query_dim = 320;  ///< Channels of the hidden states.
  std::int64_t heads = 8;
  std::int64_t head_dim = 40;
  std::optional<std::int64_t> cross_attention_dim;  ///< Text width; empty: self-attention.
};

struct KeyValue {
  torch::Tensor key;    ///< [B,heads,M,head_dim]
  torch::Tensor value;  ///< [B,heads,M,head_dim]
};

/// Multi-head attention, the `Attention` of diffusers without its optional norms.
/// Parameters: to_q.weight, to_k.weight, to_v.weight, to_out.0.weight, to_out.0.bias.
class AttentionImpl : public torch::nn::Module {
 public:
  explicit AttentionImpl(const AttentionSize& size);

  /// See AttentionProcessor::process; `residual` [B,N,query_dim] is added unless it is undefined.
  /// Without a processor, context may also be [B/r,S,C] or [B/r,L,S,C]: r neighbours each read the
  /// same text.
  torch::Tensor forward(const torch::Tensor& hidden_states, const torch::Tensor& context = {},
                        const torch::Tensor& residual = {});

  /// The steps that processors are made of.
  torch::Tensor query(const torch::Tensor& hidden_states);  ///< [B,N,query_dim] -> [B,heads,N,D]
  KeyValue key_value(const torch::Tensor& source);          ///< [B,M,C] -> two [B,heads,M,D]
  /// [B,heads,N,D] -> [B,N,query_dim], with `residual` added.
  torch::Tensor output(const torch::Tensor& mixed, const torch::Tensor& residual = {});
  /// What this layer reads of a text context: its `text_slice` of a layer-wise [B,L,S,C], the whole
  /// of a [B,S,C]. Throws kMismatch if L is not the model's.
  torch::Tensor context_of_layer(const torch::Tensor& context) const;

  bool is_cross_attention() const { return cross_attention_; }
  std::int64_t heads() const { return heads_; }
  std::int64_t head_dim() const { return head_dim_; }

  /// Position among the cross-attention layers of the U-Net, -1 for self-attention; set by the
  /// model that owns the layer, as is which of the L texts of a layer-wise prompt it reads
  /// (TextSlices).
  std::int64_t cross_attention_index = -1;
  std::int64_t text_slice = -1;
  std::int64_t text_count = 0;

  /// Empty: plain attention.
  std::shared_ptr<AttentionProcessor> processor;

 private:
  torch::Tensor split_heads(const torch::Tensor& x) const;

  bool cross_attention_;
  std::int64_t heads_;
  std::int64_t head_dim_;
  Linear to_q_{nullptr}, to_k_{nullptr}, to_v_{nullptr}, out_{nullptr};
};
TORCH_MODULE(Attention);

struct FeatureSize {
  std::int64_t height, width;
};

/// Height and width of the features with this many positions in a U-Net whose input is latents of
/// the given size: every down block halves both, rounding up.
FeatureSize feature_size(std::int64_t latent_height, std::int64_t latent_width,
                         std::int64_t positions);

/// Installs `processor` in the given attention layers and puts the former ones back at the end of
/// its own life.
class ScopedProcessor {
 public:
  ScopedProcessor(std::vector<Attention> layers, std::shared_ptr<AttentionProcessor> processor);
  ~ScopedProcessor();
  ScopedProcessor(const ScopedProcessor&) = delete;
  ScopedProcessor& operator=(const ScopedProcessor&) = delete;

 private:
  std::vector<Attention> layers_;
  std::vector<std::shared_ptr<AttentionProcessor>> former_;
};

}  // namespace mos::nn
