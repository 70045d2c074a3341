#pragma once

#include <gtest/gtest.h>
#include <torch/types.h>

#include <cstdint>

#include "mos/nn/kernels/bf16.h"
#include "mos/nn/kernels/cpu_features.h"

/// What tests of kernels share, which are called with addresses.
namespace mos::nn::kernels::test {

using torch::Tensor;

inline constexpr double kRoundedOnce = 4e-3;  ///< Half of the last of bfloat16's 8 bits, relative.

/// bfloat16 numbers with room around them, so that they begin one element behind an aligned address
/// and what is written outside is seen.
class Framed {
 public:
  explicit Framed(int64_t count)
      : count_(count), memory_(at::full({count + 2 * kMargin + 1}, kUntouched, at::kBFloat16)) {}
  explicit Framed(const Tensor& values) : Framed(values.numel()) {
    this->values().copy_(values.flatten());
  }

  uint16_t* data() { return bits(memory_) + kMargin + 1; }
  Tensor values() const { return memory_.narrow(0, kMargin + 1, count_); }
  bool is_whole() const {
    return (memory_.narrow(0, 0, kMargin + 1) == kUntouched).all().item<bool>() &&
           (memory_.narrow(0, kMargin + 1 + count_, kMargin) == kUntouched).all().item<bool>();
  }

 private:
  static constexpr int64_t kMargin = 32;
  static constexpr double kUntouched = 77.0;
  int64_t count_;
  Tensor memory_;
};

inline Tensor random_bf16(at::IntArrayRef shape) { return at::randn(shape).to(at::kBFloat16); }

/// Skipped on processors without the instructions.
class KernelTest : public testing::Test {
 protected:
  void SetUp() override {
    if (!avx512_available()) GTEST_SKIP() << "no AVX-512 BF16";
    at::manual_seed(21);
  }
};

}  // namespace mos::nn::kernels::test
