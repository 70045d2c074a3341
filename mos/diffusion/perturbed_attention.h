#pragma once

#include <memory>
#include <vector>

#include "mos/nn/attention.h"
#include "mos/nn/unet.h"

namespace mos::diffusion {

/// Makes the unconditional half of a guided call worse, for as long as it lives, so that guidance
/// leads away from bad pictures (autoguidance, arXiv 2406.02507) and not from other prompts alone.
/// Worse as in perturbed-attention guidance (arXiv 2403.17377), whose self-attention is the
/// identity, V in the place of softmax(QKᵀ)V: here of its `share`, 0…1, and in the half that is run
/// anyway, so the call takes no longer. Runs must be of 2B pictures, the unconditional ones first;
/// processors that layers have keep their work.
/// Required: nobody else changes processors meanwhile.
class PerturbedAttention {
 public:
  PerturbedAttention(const nn::UNet2DConditionModel& unet, double share);
  ~PerturbedAttention();
  PerturbedAttention(const PerturbedAttention&) = delete;
  PerturbedAttention& operator=(const PerturbedAttention&) = delete;

 private:
  std::vector<std::unique_ptr<nn::ScopedProcessor>> installed_;
};

}  // namespace mos::diffusion
