#pragma once

#include <torch/types.h>

#include <cstdint>
#include <filesystem>

#include "mos/base/progress.h"
#include "mos/checkpoint/reference_models.h"

namespace mos::diffusion {

struct RandomModelOptions {
  std::uint64_t seed = 0;
  torch::ScalarType dtype = torch::kFloat16;
  const CancelToken* cancel = nullptr;
};

/// Writes a model of these configs with random weights, scaled so that activations stay finite: for
/// tests and measurements at full size. A directory, or a single file where `path` ends in
/// .safetensors; the same seed gives the same weights in both. Every tensor is drawn when its turn
/// to be written comes, so memory is that of the largest one.
/// Throws mos::Error as Model::create and Model::save do.
void write_random_model(const std::filesystem::path& path, const checkpoint::ModelConfigs& configs,
                        const RandomModelOptions& options);

}  // namespace mos::diffusion
