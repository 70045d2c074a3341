#pragma once

#include <cstdint>

#include "mos/fuse/solver.h"

namespace mos::fuse {

struct LbfgsOptions {
  std::int64_t max_iterations = 50;
  std::int64_t history = 25;
};

/// The authors' way to the minimum of Σ_i ‖(W − W_i) X_iᵀ‖²: L-BFGS (step 1, strong Wolfe) from W0
/// on the mean squared error, here in terms of the second moments. Stopping early is its
/// regularisation. Returns M of W − W0 = up · M.
torch::Tensor solve_lbfgs(const LayerWish& wish, const InputGram& total,
                          const LbfgsOptions& options);

}  // namespace mos::fuse
