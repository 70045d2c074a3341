#include <fmt/core.h>

#include <cmath>
#include <numeric>

#include "mos/base/error.h"
#include "mos/fuse/methods/wish.h"

namespace mos::fuse {

namespace {

struct GradientOptions {
  /// Relative ridges, see RidgeSolver; -1: default_ridges().
  double text_ridge = -1.0;
  double unet_ridge = -1.0;
  std::string ridge_towards = "average";
};

template <class Visitor>
void describe(Visitor& visit, GradientOptions& o) {
  visit("text_ridge", o.text_ridge,
        "relative ridge of text-fed layers (-1: by the number of concepts)");
  visit("unet_ridge", o.unet_ridge, "relative ridge of the other layers (-1: the same)");
  visit("ridge_towards", o.ridge_towards, "average, sum or base: where the ridge leads to");
}

struct Ridges {
  double text, unet;
};

/// The ridges that kept most of the sample concepts' identity (docs/fusion.md). The average of few
/// updates dilutes each of them little, so the ridge may lead far towards it; that of many does
/// not. A step where there should be a slope: two sizes were measured, three concepts and six.
Ridges default_ridges(std::size_t concepts) {
  constexpr std::size_t kFew = 4;
  return concepts <= kFew ? Ridges{10.0, 1.0} : Ridges{0.3, 0.01};
}

/// The paper's gradient fusion, solved exactly. What the inputs leave open is where the ridge leads
/// to.
class Gradient final : public MergeMethod {
 public:
  void describe(FieldVisitor& visit) override { fuse::describe(visit, options_); }

  void complete(std::size_t concepts) override {
    const auto ridges = default_ridges(concepts);
    if (options_.text_ridge < 0.0) options_.text_ridge = ridges.text;
    if (options_.unet_ridge < 0.0) options_.unet_ridge = ridges.unet;
  }

  void check() const override {
    for (const double ridge : {options_.text_ridge, options_.unet_ridge}) {
      if (ridge < 1e6 && (ridge >= 0.0 || ridge == -1.0)) continue;
      throw Error(ErrorKind::kUsage,
                  fmt::format("a ridge must be a number from 0 on, or -1, not {}", ridge));
    }
    const auto& towards = options_.ridge_towards;
    if (towards == "average" || towards == "sum" || towards == "base") return;
    throw Error(ErrorKind::kUsage,
                fmt::format("ridge_towards must be average, sum or base, not \"{}\"", towards));
  }

  Needs needs() const override { return {.inputs = Recorded::kEverything}; }

  Merged merge(const LayerProblem& problem) const override {
    const auto wish = wish_of(problem);
    const auto& solver = problem.inputs->ridge(problem.weights, problem.kind == LayerKind::kUNet
                                                                    ? options_.unet_ridge
                                                                    : options_.text_ridge);
    auto merged = merged_of(problem, wish, solver.solve(wish, prior_of(problem, wish)));
    merged.facts["relative_ridge"] = solver.relative_ridge();
    return merged;
  }

 private:
  /// stack_i(share_i · down_i), what the ridge leads to: [R,I].
  torch::Tensor prior_of(const LayerProblem& problem, const LayerWish& wish) const {
    const double sum = std::accumulate(problem.weights.begin(), problem.weights.end(), 0.0);
    const double whole = options_.ridge_towards == "average" ? 1.0
                         : options_.ridge_towards == "sum"
                             ? static_cast<double>(problem.weights.size())
                             : 0.0;
    std::vector<torch::Tensor> parts = {wish.moments().slice(0, 0, 0)};
    for (std::size_t i = 0; i < problem.updates.size(); ++i) {
      const auto factors = problem.updates[i].factored();
      if (!factors.empty()) parts.push_back(whole * problem.weights[i] / sum * factors.down);
    }
    return torch::cat(parts);
  }

  GradientOptions options_;
};

}  // namespace

std::unique_ptr<MergeMethod> make_gradient() { return std::make_unique<Gradient>(); }

}  // namespace mos::fuse
