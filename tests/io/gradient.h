#pragma once

#include <torch/types.h>

#include <cstdint>

namespace mos::io::test {

/// uint8 [height,width,channels] in which neighbours differ.
inline torch::Tensor gradient(std::int64_t height, std::int64_t width, std::int64_t channels) {
  auto values = torch::arange(height * width * channels) * 7 % 256;
  return values.view({height, width, channels}).to(torch::kUInt8);
}

}  // namespace mos::io::test
