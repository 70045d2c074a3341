#pragma once

#include <torch/version.h>

/// The one place for differences between LibTorch 1.13 (Debian 12) and 2.x (Debian 13, CUDA).
namespace mos::compat {

/// Before 2.0 ATen's CPU normalisations accumulate bfloat16 moments in bfloat16, which is wrong
/// (pytorch issue 77507), so callers compute them in float32.
inline constexpr bool kBf16NormsAreExact = TORCH_VERSION_MAJOR >= 2;

}  // namespace mos::compat
