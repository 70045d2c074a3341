#pragma once

#include <ATen/core/Generator.h>

#include <cstdint>
#include <vector>

/// Random draws that are pure functions of (seed, purpose, index), so that a run which was
/// interrupted and resumed draws what an uninterrupted one does.
namespace mos::tune {

enum class Draw : std::uint64_t {
  kOrder = 1,    ///< Order of the pictures in an epoch; index = epoch.
  kFraming = 2,  ///< Index = framing of a picture.
  kStep = 3,     ///< Everything else of one batch; index = batch.
  kStart = 4,    ///< Start values of rows and LoRA; index = tensor.
  kPreview = 5,  ///< Starting noise of sample pictures; index = picture.
  kDrop = 6,     ///< Which LoRA is off; index = optimiser step.
};

at::Generator generator_for(std::uint64_t seed, Draw purpose, std::uint64_t index);

/// Uniform integer in low … high, both included.
std::int64_t uniform_int(at::Generator& generator, std::int64_t low, std::int64_t high);

/// 0 … count-1 in random order.
std::vector<std::int64_t> permutation(at::Generator& generator, std::int64_t count);

/// True with the given probability; draws nothing for 0 and 1.
bool happens(at::Generator& generator, double probability);

}  // namespace mos::tune
