#pragma once

#include <torch/types.h>

#include <cstdint>
#include <string>
#include <vector>

#include "mos/fuse/capture.h"

/// What a concept's own model says of the concept, for a fused model that is to say the same.
namespace mos::fuse {

/// What the U-Net was asked while it painted, and what it said: N calls for one picture each.
struct Lessons {
  std::vector<std::string> prompts;  ///< What was painted, each several times.
  torch::Tensor prompt;              ///< [N] int64, the number of the call's prompt.
  torch::Tensor noisy;               ///< [N,C,h,w] float32 on the CPU, as the network reads it.
  torch::Tensor timestep;            ///< [N]
  torch::Tensor said;                ///< [N,C,h,w] float32 on the CPU.
  /// [N] bool: of each prompt's last picture, where there are several. Nobody is taught these;
  /// they tell how much was learned.
  torch::Tensor held_aside;

  std::int64_t count() const { return noisy.defined() ? noisy.size(0) : 0; }
};

struct LessonPlan {
  SamplingRun run;  ///< Its prompt and noise are not looked at.
  std::vector<std::string> prompts;
  /// By prompt [n,C,h,w], what its pictures begin as.
  std::vector<torch::Tensor> noise = {};

  /// Of denoising, over all prompts: those of pictures that are painted at once are one.
  std::int64_t steps() const;
};

/// Paints a picture of each prompt for each entry of its noise with the networks as they are, and
/// keeps every call with the prompt. `hooks.after_step` gets steps over all prompts. Throws as
/// sample_latents().
Lessons collect_lessons(const diffusion::Model& model, const concepts::ConceptTokens& tokens,
                        const LessonPlan& plan, const SamplingHooks& hooks);

}  // namespace mos::fuse
