#include "mos/fuse/weight_fusion.h"

#include <algorithm>

namespace mos::fuse {

Update weighted_sum(std::span<const Update> updates, std::span<const double> weights) {
  const bool dense =
      std::ranges::any_of(updates, [](const Update& u) { return u.dense.defined(); });
  std::vector<torch::Tensor> ups, downs;
  torch::Tensor sum;
  for (std::size_t i = 0; i < updates.size(); ++i) {
    if (updates[i].empty()) continue;
    if (dense) {
      const auto share = weights[i] * updates[i].matrix();
      sum = sum.defined() ? sum + share : share;
    } else {
      ups.push_back(updates[i].up);
      downs.push_back(weights[i] * updates[i].down);
    }
  }
  if (dense) return {.dense = sum};
  if (ups.empty()) return {};
  return {.up = torch::cat(ups, 1), .down = torch::cat(downs)};
}

Merged weight_fusion(const LayerProblem& problem) {
  const auto fractions =
      concept_weights(Weighting::kFractions, problem.weights, problem.weights.size());
  return {.update = weighted_sum(problem.updates, fractions)};
}

}  // namespace mos::fuse
