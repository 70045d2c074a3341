#pragma once

#include <cstdint>
#include <functional>
#include <optional>

#include "mos/pretrain/data.h"
#include "mos/pretrain/sampling.h"

namespace mos::pretrain {

/// A caption changed so that it is wrong, or nothing where it cannot be.
using CaptionChange = std::function<std::optional<world::CaptionSpec>(const world::CaptionSpec&)>;

struct SwapOptions {
  std::int64_t pictures = 128;
  std::int64_t seed = 1;
};

/// Share of the first held-out square pictures that `change` changes whose denoising error, summed
/// over four timesteps in 350…800 with fixed noise, is lower with their own caption than with the
/// changed one; 0 where there are none.
double prefers_own_caption(diffusion::Model model, const Dataset& data, const CaptionChange& change,
                           const SwapOptions& options);

}  // namespace mos::pretrain
