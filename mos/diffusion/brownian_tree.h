#pragma once

#include <torch/types.h>

#include <cstdint>
#include <functional>
#include <span>
#include <utility>
#include <vector>

#include "mos/diffusion/scheduler.h"

/// The noise of SDE samplers as k-diffusion, and so A1111, ComfyUI and diffusers, draw it for a
/// seed: increments of a Brownian path over noise levels, made by bisection (torchsde's
/// BrownianTree), so that it does not depend on how many steps there are.
namespace mos::diffusion {

/// numpy.random.SeedSequence(entropy, spawn_key=…, pool_size=24).generate_state(count): O'Neill's
/// hashing of seeds.
std::vector<std::uint32_t> seed_words(std::uint64_t entropy,
                                      std::span<const std::uint32_t> spawn_key, std::size_t count);

/// One path W over the levels from `low` to `high`, W(low) = 0.
class BrownianTree {
 public:
  /// N(0,1) for a seed, always in the same shape.
  using Draw = std::function<torch::Tensor(std::uint64_t seed)>;

  /// Throws mos::Error(kUsage) unless low < high.
  BrownianTree(std::uint64_t seed, std::pair<double, double> levels, Draw draw);

  /// W(level), the same whatever was asked before. Levels count to six digits after the point, as
  /// in torchsde.
  torch::Tensor at(double level) const;

 private:
  std::uint64_t seed_;
  double low_, high_;
  Draw draw_;
  torch::Tensor whole_;  ///< W(high)
};

/// For `draw(seed)` and a path for each of `pictures`, seeded with seed, seed + 1, …: what
/// NoiseSource::with_path() takes.
NoiseSource::Path brownian_paths(std::uint64_t seed, std::int64_t pictures,
                                 std::function<torch::Tensor(std::uint64_t, at::IntArrayRef)> draw);

}  // namespace mos::diffusion
