#pragma once

#include <ATen/core/Generator.h>
#include <torch/types.h>

#include <span>
#include <string>
#include <vector>

#include "mos/fuse/method.h"

/// What methods that thin the updates out before adding them have in common. Matrices are [O,I].
namespace mos::fuse {

/// w_i ΔW_i of every concept that has an update and a weight other than zero.
std::vector<torch::Tensor> weighted_matrices(const LayerProblem& problem);

/// `matrix` with its `density` share of largest entries by magnitude, and zeros.
torch::Tensor keep_largest(const torch::Tensor& matrix, double density);

/// TIES-Merging: each entry has the sign of its sum over `matrices`, and the mean of those that
/// agree with it. Zeros have no say. Required: at least one matrix.
torch::Tensor elected_mean(std::span<const torch::Tensor> matrices);

/// Their sum. The same is required.
torch::Tensor sum_of(std::span<const torch::Tensor> matrices);

/// Throws mos::Error(kUsage) unless 0 < density ≤ 1.
void check_density(double density);

}  // namespace mos::fuse
