#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include "mos/base/choice.h"
#include "mos/base/require.h"
#include "mos/base/text.h"
#include "mos/fuse/methods/wish.h"

namespace mos::fuse {

using torch::Tensor;

namespace {

/// What a layer becomes where nobody reads anything.
enum class Towards { kAverage, kSum, kBase };
constexpr auto choice_names(Towards) {
  return std::to_array<Named<Towards>>(
      {{"average", Towards::kAverage}, {"sum", Towards::kSum}, {"base", Towards::kBase}});
}

enum class Balance { kEqual, kEnergy };
constexpr auto choice_names(Balance) {
  return std::to_array<Named<Balance>>({{"equal", Balance::kEqual}, {"energy", Balance::kEnergy}});
}

struct GradientOptions {
  /// Relative ridges, see RidgeSolver. Chosen on some concepts and checked on others, and the same
  /// for three of them and for more (docs/fusion.md).
  double text_ridge = 3.0;
  double unet_ridge = 0.1;
  Towards ridge_towards = Towards::kAverage;
  std::int64_t rounds = 0;
  Balance balance = Balance::kEqual;
  /// What the base model knows and shall keep, one more concept each whose W_i is W0.
  std::vector<std::string> keep;
  /// Whether rounds and balance are offered. No option.
  bool repeats = true;
};

template <class Visitor>
void describe(Visitor& visit, GradientOptions& o) {
  visit("text_ridge", o.text_ridge, "relative ridge of text-fed layers", between(0, 1e6));
  visit("unet_ridge", o.unet_ridge, "relative ridge of the other layers", between(0, 1e6));
  visit("ridge_towards", o.ridge_towards, "average, sum or base: where the ridge leads to");
  if (o.repeats) {
    visit("rounds", o.rounds, "how often inputs are recorded once more, on the merged model",
          between(0, 1000));
    visit("balance", o.balance, "equal, or energy: concepts count the less, the more they put out");
  }
  visit("keep", o.keep, "phrases that shall look as on the base model, \"dog\" for example");
}

/// The paper's gradient fusion, solved exactly. What the inputs leave open is where the ridge leads
/// to.
///
/// With rounds, inputs X̃_i are recorded once more as the merged model sees them, beside X_i as the
/// concept's own weights do. The update is to make of the former what the concept's own makes of
/// the latter (IterIS, CVPR 2025):
///
///     W − W0 = (Σ c_i ΔW_i X_iᵀX̃_i + λP) (Σ c_i X̃_iᵀX̃_i + λI)⁻¹ ,
///
/// with balanced concepts c_i = ‖W_i‖² / ‖W_i X_i‖². So its authors run it (IterIS.py, in all of
/// whose configurations with_pretrain_matrix is 0): with W_i and W in the place of the updates, as
/// the paper writes it, every layer would undo W0 (X̃_i − X_i) too, what the layers before it have
/// done to its input, and all of them together would undo it many times over.
class Gradient final : public MergeMethod {
 public:
  explicit Gradient(GradientOptions options) : options_(std::move(options)) {}

  void describe(FieldVisitor& visit) override { describe_options(visit, options_); }

  void check() const override {
    const auto& keep = options_.keep;
    require(std::ranges::all_of(keep, [](const auto& phrase) { return !trimmed(phrase).empty(); }),
            "a phrase of keep is empty: it stands in prompts where a concept would, \"dog\" for "
            "example");
  }

  Needs needs() const override {
    return {
        .inputs = Recorded::kEverything, .rounds = options_.rounds, .kept_phrases = options_.keep};
  }

  Merged merge(const LayerProblem& problem) const override {
    const auto weights =
        options_.balance == Balance::kEnergy ? balanced_weights(problem) : problem.weights;
    if (problem.inputs->seen_again()) return merge_again(problem, weights);
    const auto wish = wish_of(problem, weights);
    const auto& solver = problem.inputs->ridge(weights, ridge_for(problem));
    auto merged = merged_of(problem, wish, solver.solve(wish, prior_of(problem)));
    merged.facts["relative_ridge"] = solver.relative_ridge();
    return merged;
  }

 private:
  double ridge_for(const LayerProblem& problem) const {
    return problem.kind == LayerKind::kUNet ? options_.unet_ridge : options_.text_ridge;
  }

  /// By concept, how much of its update the ridge leads to.
  std::vector<double> prior_shares(const LayerProblem& problem) const {
    const double sum = std::accumulate(problem.weights.begin(), problem.weights.end(), 0.0);
    double whole = 0.0;  // to the base model
    if (options_.ridge_towards == Towards::kAverage) whole = 1.0;
    if (options_.ridge_towards == Towards::kSum)
      whole = static_cast<double>(problem.weights.size());
    std::vector<double> shares;
    for (const double weight : problem.weights) shares.push_back(whole * weight / sum);
    return shares;
  }

  /// stack_i(share_i · down_i), what the ridge leads to: [R,I].
  Tensor prior_of(const LayerProblem& problem) const {
    const auto shares = prior_shares(problem);
    std::vector<Tensor> parts = {torch::zeros({0, problem.weight.size(1)}, torch::kFloat64)};
    for (std::size_t i = 0; i < problem.updates.size(); ++i) {
      const auto factors = problem.updates[i].factored();
      if (!factors.empty()) parts.push_back(shares[i] * factors.down);
    }
    return torch::cat(parts);
  }

  static Tensor base_of(const LayerProblem& problem) {
    return problem.weight.to(torch::kCPU, torch::kFloat64);
  }

  /// w_i c_i.
  static std::vector<double> balanced_weights(const LayerProblem& problem) {
    auto weights = problem.weights;
    for (std::size_t i = 0; i < weights.size(); ++i) {
      const auto& update = problem.updates[i];
      const auto own = update.empty() ? base_of(problem) : base_of(problem) + update.matrix();
      const double put_out = (problem.inputs->of(i).times(own) * own).sum().item<double>();
      if (put_out > 0.0) weights[i] *= own.square().sum().item<double>() / put_out;
    }
    return weights;
  }

  /// The same with X̃_i, by dense matrices: X_iᵀX̃_i is not symmetric.
  Merged merge_again(const LayerProblem& problem, const std::vector<double>& weights) const {
    const auto shares = prior_shares(problem);
    const auto in_features = problem.weight.size(1);
    auto wanted = torch::zeros(problem.weight.sizes(), torch::kFloat64);
    auto prior = torch::zeros_like(wanted);
    auto total = torch::zeros({in_features, in_features}, torch::kFloat64);
    for (std::size_t i = 0; i < weights.size(); ++i) {
      const auto [again, cross] = problem.inputs->again(i);
      total += weights[i] * again;
      if (problem.updates[i].empty()) continue;
      const auto own = problem.updates[i].matrix();
      wanted += weights[i] * torch::matmul(own, cross);
      prior += shares[i] * own;
    }
    const RidgeSolver solver(InputGram::from_matrix(total, in_features), ridge_for(problem));
    return {.update = {.dense = solver.solve(wanted, prior)},
            .facts = {{"relative_ridge", solver.relative_ridge()}}};
  }

  GradientOptions options_;
};

}  // namespace

std::unique_ptr<MergeMethod> make_gradient() {
  return std::make_unique<Gradient>(GradientOptions());
}

/// Once, so that pairs come of pairs.
std::unique_ptr<MergeMethod> make_gradient_of_pairs() {
  return std::make_unique<Gradient>(GradientOptions{.repeats = false});
}

/// The same with what IterIS does: rounds, balance, and a ridge that only keeps the solution
/// finite.
std::unique_ptr<MergeMethod> make_iteris() {
  return std::make_unique<Gradient>(GradientOptions{
      .text_ridge = 1e-4, .unet_ridge = 1e-4, .rounds = 2, .balance = Balance::kEnergy});
}

}  // namespace mos::fuse
