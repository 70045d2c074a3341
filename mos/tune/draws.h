#pragma once

#include "mos/train/draws.h"

namespace mos::tune {

/// What the random numbers of a run are for.
enum class Draw : std::uint64_t {
  kOrder = 1,    ///< Order of the pictures in an epoch; index = epoch.
  kFraming = 2,  ///< Index = framing of a picture.
  kStep = 3,     ///< Everything else of one batch; index = batch.
  kStart = 4,    ///< Start values of rows and LoRA; index = tensor.
  kPreview = 5,  ///< Starting noise of sample pictures; index = picture.
  kDrop = 6,     ///< Which LoRA is off; index = optimiser step.
};

inline at::Generator generator_for(std::uint64_t seed, Draw purpose, std::uint64_t index) {
  return train::generator_for(seed, static_cast<std::uint64_t>(purpose), index);
}

using train::happens;
using train::permutation;
using train::uniform_int;

}  // namespace mos::tune
