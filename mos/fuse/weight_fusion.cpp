#include "mos/fuse/weight_fusion.h"

#include <fmt/core.h>

#include <cmath>
#include <numeric>

#include "mos/base/error.h"

namespace mos::fuse {

LowRankUpdate weighted_sum(std::span<const LowRankUpdate> updates,
                           std::span<const double> weights) {
  std::vector<torch::Tensor> ups, downs;
  for (std::size_t i = 0; i < updates.size(); ++i) {
    if (updates[i].empty()) continue;
    ups.push_back(updates[i].up.flatten(1).to(torch::kCPU, torch::kFloat64));
    downs.push_back(weights[i] * updates[i].down.flatten(1).to(torch::kCPU, torch::kFloat64));
  }
  if (ups.empty()) return {};
  return {.up = torch::cat(ups, 1), .down = torch::cat(downs)};
}

std::vector<double> normalized_weights(std::span<const double> weights, std::size_t concepts) {
  if (weights.empty()) return std::vector<double>(concepts, 1.0 / static_cast<double>(concepts));
  const double sum = std::accumulate(weights.begin(), weights.end(), 0.0);
  const bool usable = weights.size() == concepts && sum > 0.0 && std::isfinite(sum) &&
                      std::none_of(weights.begin(), weights.end(), [](double w) { return w < 0; });
  if (!usable) {
    throw Error(ErrorKind::kUsage,
                fmt::format("weight fusion of {} concepts needs as many weights, none negative and "
                            "not all zero; {} were given",
                            concepts, weights.size()));
  }
  std::vector<double> fractions(weights.begin(), weights.end());
  for (double& fraction : fractions) fraction /= sum;
  return fractions;
}

}  // namespace mos::fuse
