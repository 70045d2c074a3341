#include "mos/io/narrowing.h"

#include <gmock/gmock.h>

#include <cmath>
#include <limits>

#include "mos/base/error.h"
#include "mos/io/safetensors.h"
#include "tests/support/temp_dir.h"

namespace {

using mos::io::Narrowing;
using testing::AllOf;
using testing::HasSubstr;

TEST(NarrowingCasts, ANumberThatWouldBecomeInfiniteIsRefusedWithItsTensor) {
  Narrowing narrowing;
  const auto big = torch::tensor({1.0F, 1e5F, -7e4F});
  try {
    narrowing.cast("layer.weight", big, torch::kHalf);
    ADD_FAILURE() << "was cast";
  } catch (const mos::Error& error) {
    EXPECT_THAT(error.what(), AllOf(HasSubstr("2 of the 3 numbers in layer.weight"),
                                    HasSubstr("1e+05"), HasSubstr("float16")));
  }
  EXPECT_TRUE(narrowing.cast("layer.weight", big, torch::kBFloat16).isfinite().all().item<bool>());
  // What is infinite already becomes no worse.
  const auto infinite = torch::tensor({std::numeric_limits<float>::infinity(), NAN});
  EXPECT_NO_THROW(narrowing.cast("odd", infinite, torch::kHalf));
}

TEST(NarrowingCasts, WhatBecomesZeroIsCounted) {
  Narrowing narrowing;
  const auto tiny = torch::tensor({0.0F, 1e-9F, 1e-9F, 1.0F});
  EXPECT_EQ(narrowing.cast("a", tiny, torch::kHalf)[1].item<float>(), 0.0F);
  EXPECT_EQ(narrowing.zeroed(), 2);
  testing::internal::CaptureStderr();
  narrowing.warn("file");
  EXPECT_THAT(
      testing::internal::GetCapturedStderr(),
      AllOf(HasSubstr("file: 2 of 4 numbers"), HasSubstr("float16"), HasSubstr("first is a")));
  narrowing.cast("b", tiny, torch::kBFloat16);
  narrowing.cast("c", tiny.to(torch::kHalf), torch::kFloat32);
  EXPECT_EQ(narrowing.zeroed(), 2);
}

TEST(NarrowingCasts, ALargeTensorIsCountedInPartsAsAWhole) {
  Narrowing narrowing;
  auto large = torch::ones({3, 1 << 21});
  large[0][5] = 1e-9F;
  large[2][(1 << 21) - 1] = -1e-9F;
  narrowing.cast("large", large.t(), torch::kHalf);
  EXPECT_EQ(narrowing.zeroed(), 2);
  large[2][7] = -1e9F;
  EXPECT_THROW(narrowing.cast("large", large, torch::kHalf), mos::Error);
}

TEST(NarrowingCasts, AFileWithInfiniteNumbersIsNotWritten) {
  const mos::TempDir folder;
  auto lazy = mos::io::lazy_tensor(torch::tensor({1e5F}));
  lazy.dtype = torch::kHalf;
  EXPECT_THROW(mos::io::write_safetensors(folder / "x.safetensors", {{"big", lazy}}), mos::Error);
  EXPECT_FALSE(std::filesystem::exists(folder / "x.safetensors"));
}

}  // namespace
