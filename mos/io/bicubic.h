#pragma once

#include <torch/types.h>

#include <cstdint>

namespace mos::io {

/// As the functions of image.h: Keys' cubic with a = -0.5, bytes as Pillow makes them, within one
/// level. What CLIP's own code brings pictures to size with.
torch::Tensor resize_bicubic(const torch::Tensor& image, std::int64_t height, std::int64_t width);

}  // namespace mos::io
