#include "mos/tune/mask.h"

#include <fmt/core.h>

namespace mos::tune {
namespace {

constexpr int kMaskThreshold = 127;  // brighter is subject

}  // namespace

MaskReading mask_of_image(const torch::Tensor& image, std::int64_t height, std::int64_t width) {
  if (image.size(0) != height || image.size(1) != width) {
    return {{},
            fmt::format("is {}x{} pixels, but its picture is {}x{}", image.size(1), image.size(0),
                        width, height)};
  }
  auto mask = image.select(2, 0).contiguous();
  if (image.size(2) >= 3) {
    const auto colour = image.narrow(2, 0, 3);
    if (!(colour == colour.narrow(2, 0, 1)).all().item<bool>()) {
      return {{}, "is a colour picture; expected a mask in black and white"};
    }
    if (image.size(2) == 4) mask = torch::minimum(mask, image.select(2, 3));
  }
  if (!(mask > kMaskThreshold).any().item<bool>()) {
    return {{}, "selects nothing: no pixel is white"};
  }
  return {mask, ""};
}

}  // namespace mos::tune
