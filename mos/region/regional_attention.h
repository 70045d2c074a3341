#pragma once

#include <torch/types.h>

#include <cstdint>
#include <map>
#include <vector>

#include "mos/nn/attention.h"
#include "mos/nn/conditioning.h"
#include "mos/region/region.h"

namespace mos::region {

/// A region with its text as the U-Net reads it.
struct RegionContext {
  Box box;
  double weight = 1.0;
  /// For G pictures; G = 2 with guidance (unconditional first), else 1.
  nn::Conditioning text;
  torch::Tensor values = {};  ///< What values are made of in the prompt's half; undefined: `text`.
};

/// Region-aware cross-attention: the context's output everywhere, and inside each box the output
/// of softmax(Q K_rᵀ/√d) V_r of that region alone; the mean where boxes overlap (reference:
/// RegionT2I_AttnProcessor). A region costs in proportion to its area; its keys and values are
/// computed once for each layer, since texts do not change during sampling.
class RegionalAttention : public nn::AttentionProcessor {
 public:
  /// `latent_height` and `latent_width`: the size of the U-Net's input, from which the size of each
  /// layer's features follows. `pictures` of a batch, for runs whose guidance is not always on; 0:
  /// what the first call says.
  RegionalAttention(std::vector<RegionContext> regions, std::int64_t latent_height,
                    std::int64_t latent_width, std::int64_t pictures = 0);

  torch::Tensor process(nn::AttentionImpl& attention, const torch::Tensor& hidden_states,
                        const torch::Tensor& context) override;

 private:
  const std::vector<nn::KeyValue>& region_key_values(nn::AttentionImpl& attention,
                                                     std::int64_t batch);

  std::vector<RegionContext> regions_;
  std::int64_t latent_height_;
  std::int64_t latent_width_;
  std::int64_t pictures_;
  std::map<const nn::AttentionImpl*, std::vector<nn::KeyValue>> key_values_;
};

}  // namespace mos::region
