#include "mos/fuse/solver.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>

#include "mos/base/error.h"
#include "mos/io/state_dict.h"

namespace mos::fuse {

using torch::Tensor;

LayerWish::LayerWish(std::int64_t out_features, std::int64_t in_features)
    : up_(torch::zeros({out_features, 0}, torch::kFloat64)),
      moments_(torch::zeros({0, in_features}, torch::kFloat64)) {}

void LayerWish::add(const Update& update, const InputGram& inputs) {
  const auto factors = update.factored();
  const auto up = update.empty() ? torch::zeros({out_features(), 0}, torch::kFloat64) : factors.up;
  const auto down =
      update.empty() ? torch::zeros({0, in_features()}, torch::kFloat64) : factors.down;
  if (up.size(0) != out_features() || down.size(1) != in_features() || up.size(1) != down.size(0) ||
      inputs.in_features() != in_features()) {
    throw Error(ErrorKind::kMismatch,
                fmt::format("a LoRA with up {} and down {} does not fit a layer of {} outputs and "
                            "{} inputs",
                            io::shape_text(up.sizes()), io::shape_text(down.sizes()),
                            out_features(), in_features()));
  }
  // down · G of this concept alone: all that its wish depends on (see solver.h).
  const auto moments = inputs.times(down);
  const auto rows = inputs.samples();
  // One concept with more rows than features is enough to leave the space of the rows.
  const bool rows_known = rows_known_ && rows.defined();
  add_reduced(up, moments, squared_norm(up, torch::matmul(moments, down.t())));
  if (!rows_known) return;
  rows_known_ = true;
  responses_.push_back(torch::matmul(down, rows.t()));
}

void LayerWish::add_reduced(const Tensor& up, const Tensor& moments, double energy) {
  up_ = torch::cat({up_, up}, 1);
  moments_ = torch::cat({moments_, moments});
  offsets_.push_back(up_.size(1));
  energies_.push_back(energy);
  rows_known_ = false;
}

Tensor LayerWish::responses() const {
  return rows_known_ && !responses_.empty() ? torch::block_diag(responses_) : Tensor();
}

RidgeSolver::RidgeSolver(const InputGram& total, double relative_ridge)
    : relative_ridge_(relative_ridge) {
  if (!(relative_ridge >= 0.0) || !std::isfinite(relative_ridge)) {
    throw Error(ErrorKind::kUsage,
                fmt::format("the ridge must be a number from 0 on, not {}", relative_ridge));
  }
  rows_ = total.samples();
  // X Xᵀ of N rows is smaller than XᵀX of I features while N ≤ I, and both have the same solution
  // (push-through identity).
  const auto system = dual() ? torch::matmul(rows_, rows_.t()) : total.matrix();
  // Relative to it, one number means the same in every layer whatever its inputs' size.
  const double mean_eigenvalue = total.trace() / static_cast<double>(total.in_features());
  if (system.numel() == 0 || mean_eigenvalue == 0.0) return;  // no inputs: no update

  constexpr double kSmallestStep = 1e-15;  // about the rounding of the moments
  while (true) {
    auto regular = system.clone();
    regular.diagonal().add_(relative_ridge_ * mean_eigenvalue);
    const auto [factor, info] = torch::linalg_cholesky_ex(regular);
    // Moments of repeated rows are singular, and rounding makes an eigenvalue negative: then the
    // ridge grows until they are not. The report says what it became.
    if (info.item<int>() == 0 && torch::isfinite(factor).all().item<bool>()) {
      cholesky_ = factor;
      ridge_ = relative_ridge_ * mean_eigenvalue;
      return;
    }
    if (relative_ridge_ > 1.0) {
      throw Error(ErrorKind::kFormat,
                  "the inputs that were recorded hold values that are no numbers");
    }
    relative_ridge_ = std::max(kSmallestStep, relative_ridge_ * 10.0);
  }
}

Tensor RidgeSolver::divided(const Tensor& rows) const {
  // The system is symmetric, so dividing from the right is solving for the transposed.
  return torch::cholesky_solve(rows.t(), cholesky_).t();
}

Tensor RidgeSolver::solve(const LayerWish& wish, const Tensor& prior) const {
  const auto p = prior.defined() ? prior : torch::zeros_like(wish.moments());
  if (!cholesky_.defined()) return p.clone();
  if (!dual()) return solve(wish.moments(), p);
  const auto responses = wish.responses();
  TORCH_CHECK(responses.defined(), "the wish of a layer was not built from its inputs' rows");
  return p + torch::matmul(divided(responses - torch::matmul(p, rows_.t())), rows_);
}

Tensor RidgeSolver::solve(const Tensor& wanted, const Tensor& prior) const {
  if (!cholesky_.defined()) return prior.clone();
  return divided(wanted + ridge_ * prior).contiguous();
}

}  // namespace mos::fuse
