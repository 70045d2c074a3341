#include "mos/tune/mask.h"

#include <gtest/gtest.h>

namespace mos::tune {
namespace {

/// Its upper half is `value`.
torch::Tensor image(std::int64_t channels, int value = 255) {
  auto pixels = torch::zeros({4, 6, channels}, torch::kUInt8);
  pixels.narrow(0, 0, 2).fill_(value);
  return pixels;
}

std::string problem_of(const torch::Tensor& pixels) { return mask_of_image(pixels, 4, 6).problem; }

TEST(MaskOfImage, IsTheGreyOfItWhateverItsChannels) {
  const auto expected = image(1).select(2, 0);
  for (const std::int64_t channels : {1, 3, 4}) {
    auto pixels = image(channels);
    if (channels == 4) pixels.select(2, 3).fill_(255);
    const auto read = mask_of_image(pixels, 4, 6);
    EXPECT_EQ(read.problem, "");
    EXPECT_TRUE(read.mask.equal(expected)) << channels;
  }
}

TEST(MaskOfImage, WhatIsTransparentIsNotTheSubject) {
  auto pixels = image(4);
  pixels.select(2, 3).fill_(0);
  pixels.select(2, 3).narrow(1, 0, 3).fill_(255);
  EXPECT_EQ(mask_of_image(pixels, 4, 6).mask.sum().item<std::int64_t>(), 2 * 3 * 255);
  pixels.select(2, 3).fill_(0);
  EXPECT_EQ(problem_of(pixels), "selects nothing: no pixel is white");
}

TEST(MaskOfImage, WhatCannotBeAMaskIsNamed) {
  auto coloured = image(3);
  coloured.select(2, 1).fill_(90);
  EXPECT_EQ(problem_of(coloured), "is a colour picture; expected a mask in black and white");
  EXPECT_EQ(problem_of(image(1, 127)), "selects nothing: no pixel is white");
  EXPECT_EQ(problem_of(torch::zeros({6, 4, 1}, torch::kUInt8)),
            "is 4x6 pixels, but its picture is 6x4");
  EXPECT_FALSE(mask_of_image(coloured, 4, 6).mask.defined());
}

}  // namespace
}  // namespace mos::tune
