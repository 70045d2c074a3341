#pragma once

#include <torch/types.h>

#include <cstdint>

#include "mos/checkpoint/reference_models.h"
#include "mos/diffusion/pipeline.h"

namespace mos::diffusion {

struct RandomModelOptions {
  std::uint64_t seed = 0;
  torch::ScalarType dtype = torch::kFloat16;
};

/// A model of these configs with random weights of `dtype`, scaled so that activations stay finite:
/// for tests and measurements at full size. The same seed gives the same weights; memory is that of
/// the model and one tensor more.
/// Throws mos::Error as StableDiffusion::create does.
StableDiffusion random_model(const checkpoint::ModelConfigs& configs,
                             const RandomModelOptions& options);

}  // namespace mos::diffusion
