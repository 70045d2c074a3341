#include "mos/fuse/methods/wish.h"

#include <algorithm>

namespace mos::fuse {

LayerWish wish_of(const LayerProblem& problem, std::span<const double> weights) {
  LayerWish wish(problem.weight.size(0), problem.weight.size(1));
  for (std::size_t i = 0; i < problem.updates.size(); ++i) {
    wish.add(problem.updates[i], problem.inputs->of(i).scaled(weights[i]));
  }
  return wish;
}

Merged merged_of(const LayerProblem& problem, const LayerWish& wish, const torch::Tensor& m) {
  const bool dense =
      std::ranges::any_of(problem.updates, [](const Update& own) { return own.dense.defined(); });
  if (dense) return {.update = {.dense = torch::matmul(wish.up(), m)}};
  return {.update = {.up = wish.up(), .down = m}, .offsets = wish.offsets()};
}

}  // namespace mos::fuse
