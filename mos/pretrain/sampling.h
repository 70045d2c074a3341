#pragma once

#include <torch/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "mos/diffusion/model.h"
#include "mos/nn/t2i_adapter.h"
#include "mos/pretrain/data.h"

/// Pictures from the networks under training: what contact sheets and acceptance tests look at.
namespace mos::pretrain {

/// What suits the embedded base, as base/sample_defaults.json says it.
inline constexpr double kGuidance = 2.0;
inline constexpr double kPerturbed = 0.3;

struct SampleOptions {
  std::int64_t steps = 20;
  double guidance = kGuidance;
  double perturbed = kPerturbed;  ///< See diffusion::GuidanceOptions.
  std::int64_t batch = 16;
  std::uint64_t seed = 1;
  std::int64_t height = 0, width = 0;  ///< Pixels; 0: the base's square.
};

/// Where things should stand in each picture.
struct Steering {
  nn::T2IAdapter adapter{nullptr};
  torch::Tensor conditions;  ///< [B,C,H,W] in 0…1
};

/// One picture for each prompt by DPM-Solver++ with guidance: uint8 [B,H,W,3]. The noise of picture
/// i depends on the seed and on i alone.
torch::Tensor sample_pictures(diffusion::Model model, const std::vector<std::string>& prompts,
                              const SampleOptions& options = {},
                              const std::optional<Steering>& steering = std::nullopt);

/// 32 fixed prompts over the classes and backgrounds of `world`: single subjects first, then pairs.
std::vector<std::string> sheet_prompts(const world::World& world);

/// Their pictures in rows of eight, uint8 [H,W,3].
torch::Tensor contact_sheet(diffusion::Model model, const world::World& world,
                            const SampleOptions& options = {});

}  // namespace mos::pretrain
