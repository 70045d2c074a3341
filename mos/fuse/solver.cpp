#include "mos/fuse/solver.h"

#include <fmt/core.h>
#include <torch/optim/lbfgs.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "mos/base/error.h"
#include "mos/io/state_dict.h"

namespace mos::fuse {

using torch::Tensor;

namespace {

Tensor to_f64(const Tensor& tensor) {
  return tensor.detach().flatten(1).to(torch::kCPU, torch::kFloat64);
}

/// ‖outer · left · Xᵀ‖² from the moments left · G · leftᵀ.
double squared_norm(const Tensor& outer, const Tensor& projected) {
  const double sum = (torch::matmul(outer.t(), outer) * projected).sum().item<double>();
  return std::max(0.0, sum);  // rounding may leave a negative zero
}

}  // namespace

LayerWish::LayerWish(std::int64_t out_features, std::int64_t in_features)
    : up_(torch::zeros({out_features, 0}, torch::kFloat64)),
      moments_(torch::zeros({0, in_features}, torch::kFloat64)) {}

void LayerWish::add(const LowRankUpdate& update, const InputGram& inputs) {
  const auto up =
      update.empty() ? torch::zeros({out_features(), 0}, torch::kFloat64) : to_f64(update.up);
  const auto down =
      update.empty() ? torch::zeros({0, in_features()}, torch::kFloat64) : to_f64(update.down);
  if (up.size(0) != out_features() || down.size(1) != in_features() || up.size(1) != down.size(0) ||
      inputs.in_features() != in_features()) {
    throw Error(ErrorKind::kMismatch,
                fmt::format("a LoRA with up {} and down {} does not fit a layer of {} outputs and "
                            "{} inputs",
                            io::shape_text(up.sizes()), io::shape_text(down.sizes()),
                            out_features(), in_features()));
  }
  const auto moments = inputs.times(down);
  const auto rows = inputs.samples();
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
  const auto system = dual() ? torch::matmul(rows_, rows_.t()) : total.matrix();
  const double mean_eigenvalue = total.trace() / static_cast<double>(total.in_features());
  if (system.numel() == 0 || mean_eigenvalue == 0.0) return;  // no inputs: no update

  constexpr double kSmallestStep = 1e-15;  // about the rounding of the moments
  while (true) {
    auto regular = system.clone();
    regular.diagonal().add_(relative_ridge_ * mean_eigenvalue);
    const auto [factor, info] = torch::linalg_cholesky_ex(regular);
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

Tensor RidgeSolver::solve(const LayerWish& wish, const Tensor& prior) const {
  const auto p = prior.defined() ? prior : torch::zeros_like(wish.moments());
  if (!cholesky_.defined()) return p.clone();
  const auto divide = [this](const Tensor& rows) {
    return torch::cholesky_solve(rows.t(), cholesky_).t();
  };
  if (!dual()) return divide(wish.moments() + ridge_ * p).contiguous();
  const auto responses = wish.responses();
  TORCH_CHECK(responses.defined(), "the wish of a layer was not built from its inputs' rows");
  return p + torch::matmul(divide(responses - torch::matmul(p, rows_.t())), rows_);
}

Tensor solve_lbfgs(const LayerWish& wish, const InputGram& total, const LbfgsOptions& options) {
  if (wish.moments().size(0) == 0) return torch::zeros_like(wish.moments());
  const auto gram = total.matrix();
  const auto wanted = torch::matmul(wish.up(), wish.moments());  // Σ ΔW_i G_i, [O,I]
  double constant = 0.0;
  for (const double share : wish.energies()) constant += share;
  const double scale =
      1.0 / static_cast<double>(std::max<std::int64_t>(1, total.rows() * wish.out_features()));

  auto update = torch::zeros_like(wanted).requires_grad_();
  auto best = torch::zeros_like(wanted);
  double best_loss = std::numeric_limits<double>::infinity();
  const auto closure = [&] {
    const torch::NoGradGuard no_grad;
    const auto product = torch::matmul(update, gram);
    const auto loss = scale * (constant + (update * (product - 2.0 * wanted)).sum());
    update.mutable_grad() = (2.0 * scale) * (product - wanted);
    if (loss.item<double>() < best_loss) {
      best_loss = loss.item<double>();
      best = update.detach().clone();
    }
    return loss;
  };
  // Tolerances of the authors' code: as good as none.
  torch::optim::LBFGS optimizer({update}, torch::optim::LBFGSOptions(1.0)
                                              .max_iter(options.max_iterations)
                                              .history_size(options.history)
                                              .tolerance_grad(1e-16)
                                              .tolerance_change(1e-16)
                                              .line_search_fn("strong_wolfe"));
  optimizer.step(closure);
  // Gradients, and so all iterates, lie in the column space of `up`.
  return torch::matmul(torch::linalg_pinv(wish.up()), best);
}

ConceptFit concept_fit(const LayerWish& wish, const Tensor& m, std::size_t index,
                       const Tensor& down, const InputGram& inputs) {
  const double outputs =
      static_cast<double>(std::max<std::int64_t>(1, inputs.rows() * wish.out_features()));
  const auto begin = wish.offsets()[index], end = wish.offsets()[index + 1];

  const auto own_up = wish.up().slice(1, begin, end);
  auto others = wish.up().clone();
  others.slice(1, begin, end).zero_();

  const auto own_down = own_up.size(1) == 0 ? m.slice(0, 0, 0) : to_f64(down);
  const auto missing =
      inputs.project(torch::cat({m, own_down}));  // of W − W_i = up·m − up_i·down_i
  const auto r = wish.up().size(1);
  const auto spill = missing.slice(0, 0, r).slice(1, 0, r);
  return {.before = wish.energies()[index] / outputs,
          .after = squared_norm(torch::cat({wish.up(), -own_up}, 1), missing) / outputs,
          .crosstalk = squared_norm(others, spill) / outputs};
}

}  // namespace mos::fuse
