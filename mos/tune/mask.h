#pragma once

#include <torch/types.h>

#include <cstdint>
#include <string>

/// Masks of training pictures, white on the subject.
namespace mos::tune {

struct MaskReading {
  torch::Tensor mask;   ///< uint8 [H,W], 255 on the subject; undefined where there is a problem.
  std::string problem;  ///< What is wrong with it, as "is a colour picture; …"; empty: nothing.
};

/// `image`, uint8 [H,W,C] as io::read_image gives it, as the mask of a picture of this size.
MaskReading mask_of_image(const torch::Tensor& image, std::int64_t height, std::int64_t width);

}  // namespace mos::tune
