#pragma once

#include "mos/train/draws.h"

namespace mos::tune {

/// What the random numbers of a run are for.
enum class Draw : std::uint64_t {
  kOrder = 1,       ///< Order of the pictures in an epoch; index = epoch.
  kFraming = 2,     ///< Index = framing of a picture.
  kStep = 3,        ///< Everything else of one batch; index = batch.
  kStart = 4,       ///< Start values of rows and LoRA; index = tensor.
  kPreview = 5,     ///< Starting noise of sample pictures; index = picture.
  kDrop = 6,        ///< Which updates are off; index = optimiser step.
  kPriorOrder = 9,  ///< Order of the class pictures in an epoch; index = epoch.
  kPriorStep = 10,  ///< What is drawn of them for one batch; index = batch.
  kPrior = 11,      ///< Starting noise of class pictures; index = picture.
  kBasis = 7,       ///< The basis that concepts share; index = its size.
  kBasisRows = 8,   ///< Which of its rows a layer gets; index = layer.
};

inline at::Generator generator_for(std::uint64_t seed, Draw purpose, std::uint64_t index) {
  return train::generator_for(seed, static_cast<std::uint64_t>(purpose), index);
}

using train::happens;
using train::permutation;
using train::uniform_int;

}  // namespace mos::tune
