#pragma once

#include <cstdint>
#include <string>

#include "mos/base/describe.h"
#include "mos/jobs/context.h"

/// A model with random weights, for tests and measurements at full size: its pictures are noise.
namespace mos::jobs {

struct RandomModelJob {
  std::string out;              ///< A diffusers directory, or one file (.safetensors).
  std::string config = "sd15";  ///< checkpoint::reference_configs, or a model whose configs it has.
  std::uint64_t seed = 0;
  std::string dtype = "float16";
};

template <class Visitor>
void describe(Visitor& visit, RandomModelJob& job) {
  visit("out", job.out, "a diffusers directory, or one file with the original names", a_path());
  visit("config", job.config, "sd15, sd21, or a diffusers directory whose configs it takes");
  visit("seed", job.seed, "of the weights");
  visit("dtype", job.dtype, "of the weights: float32, bfloat16 or float16");
}

/// Throws mos::Error(kUsage) naming the first value that is impossible. Reads nothing.
void check(const RandomModelJob& job);

/// The same options write the same bytes. Throws as diffusion::write_random_model does, kUsage and
/// kIo for places.
void run(const RandomModelJob& job, const JobContext& context = {});

}  // namespace mos::jobs
