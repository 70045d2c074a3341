#pragma once

#include "mos/nn/attention.h"

namespace mos::tune {

/// Cross-attention through whose keys and values of the first token no gradient goes; otherwise the
/// plain one. Source: Custom Diffusion, which so leaves what every prompt reads there as it is.
class FirstTokenStop final : public nn::AttentionProcessor {
 public:
  torch::Tensor process(nn::AttentionImpl& attention, const torch::Tensor& hidden_states,
                        const torch::Tensor& context) override;
};

}  // namespace mos::tune
