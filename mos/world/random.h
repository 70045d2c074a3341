#pragma once

#include <cstdint>

namespace mos::world {

/// Which pictures: training and held-out ones come from the same world and never coincide.
enum class Split : std::uint64_t { kTrain = 1, kHeldOut = 2, kConcept = 3 };

/// A small fast stream of random numbers (splitmix64), one for every picture. The same key gives
/// the same stream on every machine.
class Rng {
 public:
  explicit Rng(std::uint64_t key) : state_(key) {}

  /// The stream of picture `index` of `split`.
  Rng(std::uint64_t seed, Split split, std::uint64_t index)
      : state_(mix(mix(mix(seed + kStep) ^ static_cast<std::uint64_t>(split)) ^ index)) {}

  std::uint64_t next() { return mix(state_ += kStep); }

  /// Uniform in [0, 1).
  double uniform() { return static_cast<double>(next() >> 11) * 0x1.0p-53; }

  /// Uniform in [low, high).
  double range(double low, double high) { return low + (high - low) * uniform(); }

  /// Uniform in {0, …, count - 1}; `count` > 0.
  int below(int count) { return static_cast<int>(uniform() * count); }

  bool chance(double probability) { return uniform() < probability; }

 private:
  static constexpr std::uint64_t kStep = 0x9e3779b97f4a7c15ULL;

  static std::uint64_t mix(std::uint64_t z) {
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
    return z ^ (z >> 31);
  }

  std::uint64_t state_;
};

}  // namespace mos::world
