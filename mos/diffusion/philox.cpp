#include "mos/diffusion/philox.h"

#include <cmath>

namespace mos::diffusion {

using torch::Tensor;

std::array<std::uint32_t, 4> philox4x32(std::array<std::uint32_t, 4> counter,
                                        std::array<std::uint32_t, 2> key) {
  constexpr int kRounds = 10;
  constexpr std::uint64_t kMultipliers[] = {0xD2511F53, 0xCD9E8D57};  // the paper's
  constexpr std::uint32_t kWeyl[] = {0x9E3779B9, 0xBB67AE85};
  for (int round = 0; round < kRounds; ++round) {
    const std::uint64_t even = kMultipliers[0] * counter[0], odd = kMultipliers[1] * counter[2];
    counter = {static_cast<std::uint32_t>(odd >> 32) ^ counter[1] ^ key[0],
               static_cast<std::uint32_t>(odd),
               static_cast<std::uint32_t>(even >> 32) ^ counter[3] ^ key[1],
               static_cast<std::uint32_t>(even)};
    key = {key[0] + kWeyl[0], key[1] + kWeyl[1]};
  }
  return counter;
}

Tensor PhiloxGenerator::randn(at::IntArrayRef shape) {
  constexpr float kUnit = 2.3283064365386963e-10F;  // 2⁻³²
  constexpr float kTurn = 1.4629180792671596e-09F;  // 2π · 2⁻³²
  auto numbers = torch::empty(shape, torch::kFloat32);
  auto* out = numbers.data_ptr<float>();
  const std::array<std::uint32_t, 2> key = {static_cast<std::uint32_t>(seed_),
                                            static_cast<std::uint32_t>(seed_ >> 32)};
  for (std::int64_t i = 0; i < numbers.numel(); ++i) {
    const auto bits = philox4x32({draws_, 0, static_cast<std::uint32_t>(i), 0}, key);
    const float u = static_cast<float>(bits[0]) * kUnit + kUnit / 2;
    const float angle = static_cast<float>(bits[1]) * kTurn + kTurn / 2;
    out[i] = std::sqrt(-2.0F * std::log(u)) * std::sin(angle);
  }
  ++draws_;
  return numbers;
}

PhiloxNoise::PhiloxNoise(std::uint64_t seed, std::int64_t pictures) {
  for (std::int64_t i = 0; i < pictures; ++i) {
    generators_.emplace_back(seed + static_cast<std::uint64_t>(i));
  }
}

Tensor PhiloxNoise::draw(at::IntArrayRef shape) {
  std::vector<Tensor> pictures;
  for (auto& generator : generators_) pictures.push_back(generator.randn(shape));
  return torch::stack(pictures);
}

NoiseSource PhiloxNoise::source() const {
  return NoiseSource([noise = *this](const Tensor& sample) mutable {
    return noise.draw(sample.sizes().slice(1));
  });
}

}  // namespace mos::diffusion
