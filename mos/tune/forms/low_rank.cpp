#include <cmath>
#include <utility>

#include "mos/base/random.h"
#include "mos/concepts/lora.h"
#include "mos/tune/draws.h"
#include "mos/tune/forms/forms.h"

namespace mos::tune::forms {

using concepts::LowRank;
using torch::Tensor;

namespace {

enum class Down { kMoves, kStays };

/// LoRA: W + scale · up · down.
class LowRankLayer final : public TrainedLayer {
 public:
  /// Takes the factors as its leaves.
  LowRankLayer(nn::LoraLayer& layer, LowRank pair, Down kind)
      : layer_(layer), pair_(std::move(pair)), kind_(kind) {
    const bool moves = pair_.up.requires_grad();
    layer_.attach_lora(pair_.down, pair_.up);  // which makes parameters of both
    pair_.down.requires_grad_(moves && kind == Down::kMoves);
    pair_.up.requires_grad_(moves);
    put(1.0);
  }
  ~LowRankLayer() override { layer_.detach_lora(); }

  std::vector<NamedParameter> leaves() const override {
    if (kind_ == Down::kStays) return {{"lora_up.weight", pair_.up}};
    return {{"lora_down.weight", pair_.down}, {"lora_up.weight", pair_.up}};
  }

  void put(double scale) override { layer_.lora_scale = scale * pair_.scale; }

  std::optional<concepts::LayerUpdate> update() const override {
    return LowRank{.down = pair_.down.detach().cpu().clone(),
                   .up = pair_.up.detach().cpu().clone(),
                   .scale = pair_.scale};
  }

  std::unique_ptr<TrainedLayer> replica(nn::LoraLayer& layer) const override {
    const LowRank same{
        .down = same_leaf(pair_.down), .up = same_leaf(pair_.up), .scale = pair_.scale};
    return std::make_unique<LowRankLayer>(layer, same, kind_);
  }

 private:
  nn::LoraLayer& layer_;
  LowRank pair_;
  Down kind_;
};

Tensor start_down(const nn::LoraLayer& layer, const WeightPlan& plan, std::uint64_t seed,
                  std::uint64_t draw) {
  auto shape = layer.weight.sizes().vec();
  shape[0] = plan.rank;
  if (plan.start == DownStart::kOrthogonal) {
    constexpr double kShare = 0.5;  // Po et al.'s code
    auto generator = generator_for(plan.concept_id, Draw::kBasisRows, draw);
    return kShare *
           basis_rows(layer.in_features(), plan.rank, plan.basis_seed, generator).view(shape);
  }
  auto generator = generator_for(seed, Draw::kStart, draw);
  if (plan.start == DownStart::kGaussian) {
    return randn(shape, generator) / static_cast<double>(plan.rank);
  }
  // kaiming_uniform(a = √5), PyTorch's start of a linear layer, which is what the authors leave
  // `down` at.
  const double bound = 1.0 / std::sqrt(static_cast<double>(layer.in_features()));
  return torch::rand(shape, generator, torch::TensorOptions().dtype(torch::kFloat32)) *
             (2 * bound) -
         bound;
}

}  // namespace

concepts::LayerUpdate low_rank_start(const nn::LoraLayer& layer, const WeightPlan& plan,
                                     std::uint64_t seed, std::uint64_t draw) {
  std::vector<std::int64_t> up_shape(static_cast<std::size_t>(layer.weight.dim()), 1);
  up_shape[0] = layer.out_features();
  up_shape[1] = plan.rank;
  return LowRank{.down = start_down(layer, plan, seed, draw),
                 // So ΔW is zero at first, and the model what it was.
                 .up = torch::zeros(up_shape),
                 .scale = plan.scale};
}

std::unique_ptr<TrainedLayer> low_rank(nn::LoraLayer& layer, const LowRank& start,
                                       const WeightPlan& plan) {
  const auto factor = [&](const Tensor& value) {
    return leaf_of(concepts::with_dims_of(layer.weight, value), layer.weight);
  };
  const LowRank leaves{.down = factor(start.down), .up = factor(start.up), .scale = start.scale};
  const auto kind = plan.start == DownStart::kOrthogonal ? Down::kStays : Down::kMoves;
  return std::make_unique<LowRankLayer>(layer, leaves, kind);
}

}  // namespace mos::tune::forms
