#pragma once

#include <torch/types.h>

#include <array>
#include <cstdint>
#include <vector>

#include "mos/diffusion/scheduler.h"

/// The random numbers that a GPU draws for a seed, made on the CPU: what people's seeds mean in
/// A1111 and in whatever draws its noise on CUDA.
namespace mos::diffusion {

/// Philox4x32 with ten rounds (Salmon et al. 2011): four numbers for a counter and a key.
std::array<std::uint32_t, 4> philox4x32(std::array<std::uint32_t, 4> counter,
                                        std::array<std::uint32_t, 2> key);

/// N(0,1) as torch.randn draws it on CUDA after torch.manual_seed(seed): number i of draw k is the
/// Box-Muller pair's sine of philox4x32({k, 0, i, 0}, seed). float32 on the CPU.
class PhiloxGenerator {
 public:
  explicit PhiloxGenerator(std::uint64_t seed) : seed_(seed) {}
  torch::Tensor randn(at::IntArrayRef shape);

 private:
  std::uint64_t seed_;
  std::uint32_t draws_ = 0;
};

/// One generator for each of `pictures`, seeded with seed, seed + 1, …: the first draw is their
/// starting noise, the next ones are what ancestral steps take, as in A1111.
class PhiloxNoise {
 public:
  PhiloxNoise(std::uint64_t seed, std::int64_t pictures);
  /// [B,…] of `shape` […] float32.
  torch::Tensor draw(at::IntArrayRef shape);
  /// Continues where this object stands.
  NoiseSource source() const;

 private:
  std::vector<PhiloxGenerator> generators_;
};

}  // namespace mos::diffusion
