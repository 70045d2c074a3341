#pragma once

#include <cstdint>

/// What configurations may ask for. A network is built before its weights are read, so a damaged or
/// hostile number must not build one of a million layers, or a shape whose size overflows.
namespace mos::nn {

/// Channels, features, tokens, pixels of a side: Stable Diffusion has 2560 at most.
inline constexpr std::int64_t kLargestWidth = 65536;
/// Entries of a vocabulary; XLM-R has 250,000.
inline constexpr std::int64_t kLargestVocabulary = 10'000'000;
/// Layers of one level, or of a transformer; the largest CLIP has 48.
inline constexpr std::int64_t kMostLayers = 256;
/// Transformer blocks of a whole U-Net; Stable Diffusion XL has 70.
inline constexpr std::int64_t kMostBlocks = 4096;
/// Levels of a U-Net, VAE or adapter; Stable Diffusion has 4.
inline constexpr std::size_t kMostLevels = 16;

/// Whether `value` lies in 1…largest.
constexpr bool is_count(std::int64_t value, std::int64_t largest) {
  return value >= 1 && value <= largest;
}

}  // namespace mos::nn
