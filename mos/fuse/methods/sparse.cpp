#include "mos/fuse/methods/sparse.h"

#include <fmt/core.h>

#include <algorithm>

#include "mos/base/error.h"

namespace mos::fuse {

using torch::Tensor;

std::vector<Tensor> weighted_matrices(const LayerProblem& problem) {
  std::vector<Tensor> matrices;
  for (std::size_t i = 0; i < problem.updates.size(); ++i) {
    // A concept that leaves the layer alone has no vote on signs.
    if (problem.updates[i].empty() || problem.weights[i] == 0.0) continue;
    matrices.push_back(problem.weights[i] * problem.updates[i].matrix());
  }
  return matrices;
}

Tensor keep_largest(const Tensor& matrix, double density) {
  const auto size = matrix.numel();
  const auto kept = static_cast<std::int64_t>(density * static_cast<double>(size));
  if (kept >= size) return matrix;
  if (kept == 0) return torch::zeros_like(matrix);
  const auto sizes = matrix.abs().flatten();
  // Ties with the smallest that is kept are kept, too (as in the authors' code, a threshold).
  const auto smallest_kept = std::get<0>(sizes.kthvalue(size - kept + 1));
  return torch::where(matrix.abs() >= smallest_kept, matrix, torch::zeros_like(matrix));
}

Tensor elected_mean(std::span<const Tensor> matrices) {
  const auto all = torch::stack(at::TensorList(matrices.data(), matrices.size()));
  // TIES, section 3.2: the elected sign is that of the sum, so mass decides and not the number of
  // votes.
  const auto agreeing = all * all.sum(0).sign() > 0.0;
  const auto count = agreeing.sum(0).clamp_min(1);
  return torch::where(agreeing, all, torch::zeros_like(all)).sum(0) / count;
}

Tensor sum_of(std::span<const Tensor> matrices) {
  auto sum = torch::zeros_like(matrices.front());
  for (const auto& matrix : matrices) sum += matrix;
  return sum;
}

void check_density(double density) {
  if (density > 0.0 && density <= 1.0) return;
  throw Error(ErrorKind::kUsage,
              fmt::format("density must be above 0 and at most 1, the share of entries that are "
                          "kept, not {}",
                          density));
}

}  // namespace mos::fuse
