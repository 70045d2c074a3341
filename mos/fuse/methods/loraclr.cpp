#include <fmt/core.h>
#include <torch/optim/adamw.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <optional>

#include "mos/base/choice.h"
#include "mos/base/counts.h"
#include "mos/base/require.h"
#include "mos/fuse/methods/wish.h"
#include "mos/fuse/weight_fusion.h"

namespace mos::fuse {

using torch::Tensor;

namespace {

/// The update that the steps start from.
enum class Start { kAverage, kBase };
constexpr auto choice_names(Start) {
  return std::to_array<Named<Start>>({{"average", Start::kAverage}, {"base", Start::kBase}});
}

struct LoraclrOptions {
  std::int64_t iterations = 50;
  double rate = 1e-4;
  double margin = 0.5;
  Start start = Start::kAverage;
};

template <class Visitor>
void describe(Visitor& visit, LoraclrOptions& o) {
  visit("iterations", o.iterations, "steps of AdamW on each layer", count_of(1, kMostSteps));
  visit("rate", o.rate, "its learning rate", between(0, 1000));
  visit("margin", o.margin, "distance to keep from the other concepts' outputs", between(0, 1e6));
  visit("start", o.start, "average or base: the update that it starts from");
}

// Of the authors' code.
constexpr double kMseWeight = 0.1;
constexpr double kOffsetWeight = 1e-3;
constexpr double kWeightDecay = 1e-4;
constexpr std::int64_t kRows = 512;  ///< Of each concept, to measure the distance to others by.

/// A loss and its gradient by W.
struct Term {
  double loss = 0.0;
  Tensor gradient;  ///< [O,I]
};

/// LoRACLR's loss (Simsar et al., CVPR 2025) of one layer W = W0 + u, with p_i = W X_i what it puts
/// out on a concept's inputs and o_i = W_i X_i what it should:
///
///     mean_i [ d(p_i, o_i)² + max(0, margin − min_{j≠i} d(p_i, o_j))² ] + 0.1 · MSE ,
///
/// d the length of the difference over all rows and outputs. The first and the last term need the
/// moments alone; the distance to others is measured on rows that were kept, paired in their order,
/// and scaled up to all of them. Means have the concepts' weights.
class ContrastiveLoss {
 public:
  ContrastiveLoss(const LayerProblem& problem, double margin)
      : base_(problem.weight.to(torch::kCPU, torch::kFloat64)),
        weights_(problem.weights),
        margin_(margin) {
    const auto wish = wish_of(problem, problem.weights);
    moments_ = problem.inputs->total(problem.weights).matrix();
    wanted_ = torch::matmul(wish.up(), wish.moments());
    for (const double energy : wish.energies()) constant_ += energy;
    double rows = 0.0;
    for (std::size_t i = 0; i < weights_.size(); ++i) {
      const auto inputs = problem.inputs->of(i);
      rows += weights_[i] * static_cast<double>(inputs.rows());
      shown_.push_back(shown_of(problem, i));
    }
    mse_share_ = kMseWeight / std::max(1.0, rows * static_cast<double>(base_.size(0)));
  }

  Term at(const Tensor& update) const {
    const auto product = torch::matmul(update, moments_);
    const double squares = constant_ + (update * (product - 2.0 * wanted_)).sum().item<double>();
    const double share = 1.0 + mse_share_;
    Term sum{.loss = share * squares, .gradient = 2.0 * share * (product - wanted_)};
    for (std::size_t i = 0; i < shown_.size(); ++i) add_repulsion(i, update, sum);
    return sum;
  }

 private:
  struct Shown {
    Tensor rows;     ///< [n,I]; undefined for a concept that does not count.
    Tensor outputs;  ///< W_i of them, [n,O].
    double stride = 1.0;
  };

  Shown shown_of(const LayerProblem& problem, std::size_t i) const {
    if (weights_[i] == 0.0) return {};
    const auto kept = problem.inputs->kept(i);
    const auto& update = problem.updates[i];
    const auto own = update.empty() ? base_ : base_ + update.matrix();
    return {kept.rows, torch::matmul(kept.rows, own.t()), static_cast<double>(kept.stride)};
  }

  /// What concept i pays for being near the nearest other one.
  void add_repulsion(std::size_t i, const Tensor& update, Term& sum) const {
    if (!shown_[i].rows.defined()) return;
    const auto outputs = torch::matmul(shown_[i].rows, (base_ + update).t());
    double nearest = std::numeric_limits<double>::infinity();
    Tensor away;
    for (std::size_t j = 0; j < shown_.size(); ++j) {
      if (j == i || !shown_[j].rows.defined()) continue;
      const auto common = std::min(outputs.size(0), shown_[j].outputs.size(0));
      const auto difference = outputs.slice(0, 0, common) - shown_[j].outputs.slice(0, 0, common);
      const double distance =
          std::sqrt(shown_[i].stride * difference.square().sum().item<double>());
      if (distance >= nearest) continue;
      nearest = distance;
      away = difference;
    }
    if (nearest >= margin_) return;
    const double lack = margin_ - nearest;
    sum.loss += weights_[i] * lack * lack;
    if (nearest == 0.0) return;  // no direction leads away
    sum.gradient -= (2.0 * weights_[i] * lack * shown_[i].stride / nearest) *
                    torch::matmul(away.t(), shown_[i].rows.slice(0, 0, away.size(0)));
  }

  Tensor base_;
  std::vector<double> weights_;
  double margin_;
  Tensor moments_, wanted_;
  double constant_ = 0.0;
  double mse_share_ = 0.0;
  std::vector<Shown> shown_;
};

class Loraclr final : public MergeMethod {
 public:
  void describe(FieldVisitor& visit) override { describe_options(visit, options_); }

  void check() const override {
    require(options_.rate > 0.0 && std::isfinite(options_.rate),
            fmt::format("rate must be a number above 0, not {}", options_.rate));
    require(options_.margin >= 0.0 && std::isfinite(options_.margin),
            fmt::format("margin must be a number from 0 on, not {}", options_.margin));
  }

  Needs needs() const override { return {.inputs = Recorded::kEverything, .kept_rows = kRows}; }

  Merged merge(const LayerProblem& problem) const override {
    const ContrastiveLoss loss(problem, options_.margin);
    const auto average = weighted_sum(problem.updates, problem.weights).matrix();
    const auto start = options_.start == Start::kAverage ? average : torch::zeros_like(average);
    auto offset = torch::zeros_like(start).requires_grad_();
    torch::optim::AdamW optimizer(
        {offset}, torch::optim::AdamWOptions(options_.rate).weight_decay(kWeightDecay));
    auto best = start;
    double first = 0.0, lowest = std::numeric_limits<double>::infinity();
    for (std::int64_t step = 0; step < options_.iterations; ++step) {
      const torch::NoGradGuard no_grad;
      const auto update = start + offset;
      auto [value, gradient] = loss.at(update);
      const double length = offset.norm().item<double>();
      value += kOffsetWeight * length;
      if (length > 0.0) gradient += kOffsetWeight / length * offset;
      if (step == 0) first = value;
      if (value < lowest) {
        lowest = value;
        best = update.detach();
      }
      offset.mutable_grad() = gradient;
      optimizer.step();
    }
    return {.update = {.dense = best}, .facts = {{"loss_before", first}, {"loss_after", lowest}}};
  }

 private:
  LoraclrOptions options_;
};

}  // namespace

std::unique_ptr<MergeMethod> make_loraclr() { return std::make_unique<Loraclr>(); }

}  // namespace mos::fuse
