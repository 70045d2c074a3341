#include "mos/fuse/methods/lbfgs.h"

#include <torch/optim/lbfgs.h>

#include <algorithm>
#include <limits>

#include "mos/base/counts.h"
#include "mos/base/error.h"
#include "mos/fuse/methods/wish.h"

namespace mos::fuse {

using torch::Tensor;

namespace {

struct IterationOptions {
  std::int64_t text_iterations = 500;
  std::int64_t unet_iterations = 50;
};

template <class Visitor>
void describe(Visitor& visit, IterationOptions& o) {
  visit("text_iterations", o.text_iterations, "iterations on text-fed layers",
        count_of(1, kMostSteps));
  visit("unet_iterations", o.unet_iterations, "iterations on the other layers",
        count_of(1, kMostSteps));
}

/// Gradient fusion as the authors' code runs it.
class Lbfgs final : public MergeMethod {
 public:
  void describe(FieldVisitor& visit) override { describe_options(visit, options_); }

  Needs needs() const override { return {.inputs = Recorded::kEverything}; }

  Merged merge(const LayerProblem& problem) const override {
    const auto wish = wish_of(problem, problem.weights);
    const auto iterations =
        problem.kind == LayerKind::kUNet ? options_.unet_iterations : options_.text_iterations;
    return merged_of(
        problem, wish,
        solve_lbfgs(wish, problem.inputs->total(problem.weights), {.max_iterations = iterations}));
  }

 private:
  IterationOptions options_;
};

}  // namespace

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
    if (const double value = loss.item<double>(); value < best_loss) {
      best_loss = value;
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

std::unique_ptr<MergeMethod> make_lbfgs() { return std::make_unique<Lbfgs>(); }

}  // namespace mos::fuse
