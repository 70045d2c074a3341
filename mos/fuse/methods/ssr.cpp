#include <fmt/core.h>

#include <cmath>

#include "mos/base/error.h"
#include "mos/fuse/method.h"

namespace mos::fuse {

using torch::Tensor;

namespace {

struct SsrOptions {
  double ridge = 1e-4;  ///< The paper's.
};

template <class Visitor>
void describe(Visitor& visit, SsrOptions& o) {
  visit("ridge", o.ridge, "added to the mean square of what the LoRAs read", between(0, 1e6));
}

/// SSR-Merge (ICML 2026): a router between all `down` stacked and all `up` side by side,
///
///     ΔW = [up_1 … up_n] R A ,   R = Q (G + ridge · I)⁻¹ ,   A = stack_i(down_i) ,
///     G = mean of z zᵀ ,  Q = mean of z_k zᵀ ,  z = A x ,
///
/// where z_k keeps only the rows of the concept whose input x is. Both means are products of A with
/// the moments of the inputs: A G_k Aᵀ.
class Ssr final : public MergeMethod {
 public:
  void describe(FieldVisitor& visit) override { describe_options(visit, options_); }

  void check() const override {
    if (options_.ridge >= 0.0 && std::isfinite(options_.ridge)) return;
    throw Error(ErrorKind::kUsage,
                fmt::format("ridge must be a number from 0 on, not {}", options_.ridge));
  }

  Needs needs() const override { return {.inputs = Recorded::kEverything}; }

  Merged merge(const LayerProblem& problem) const override {
    std::vector<Tensor> ups, downs;
    std::vector<std::int64_t> offsets = {0};
    for (std::size_t i = 0; i < problem.updates.size(); ++i) {
      if (counts(problem, i)) {
        ups.push_back(problem.updates[i].up);
        downs.push_back(problem.updates[i].down);
      }
      offsets.push_back(offsets.back() + (counts(problem, i) ? downs.back().size(0) : 0));
    }
    if (ups.empty()) return {};
    const auto a = torch::cat(downs);
    // A LoRA that is alone in its layer disturbs nobody.
    const auto routed = ups.size() == 1 ? a : torch::matmul(router(problem, a, offsets), a);
    return {.update = {.up = torch::cat(ups, 1), .down = routed}, .offsets = offsets};
  }

 private:
  /// Concepts that leave a layer as it is have no say in it.
  static bool counts(const LayerProblem& problem, std::size_t i) {
    return !problem.updates[i].empty() && problem.weights[i] > 0.0;
  }

  /// R, [R,R] for A [R,I] with the rows of concept i from offsets[i] on.
  Tensor router(const LayerProblem& problem, const Tensor& a,
                const std::vector<std::int64_t>& offsets) const {
    auto g = torch::zeros({a.size(0), a.size(0)}, torch::kFloat64);
    auto q = torch::zeros_like(g);
    double rows = 0.0;
    for (std::size_t i = 0; i < problem.updates.size(); ++i) {
      if (!counts(problem, i)) continue;
      const auto inputs = problem.inputs->of(i);
      const auto seen = problem.weights[i] * inputs.project(a);
      g += seen;
      q.slice(0, offsets[i], offsets[i + 1]) += seen.slice(0, offsets[i], offsets[i + 1]);
      rows += problem.weights[i] * static_cast<double>(inputs.rows());
    }
    g /= rows;
    g.diagonal().add_(options_.ridge);
    return torch::matmul(q / rows, torch::linalg_pinv(g, 1e-15, /*hermitian=*/true));
  }

  SsrOptions options_;
};

}  // namespace

std::unique_ptr<MergeMethod> make_ssr() { return std::make_unique<Ssr>(); }

}  // namespace mos::fuse
