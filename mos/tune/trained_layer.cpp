#include "mos/tune/trained_layer.h"

#include <fmt/core.h>

#include "mos/base/error.h"
#include "mos/tune/forms/forms.h"

namespace mos::tune {

using concepts::DenseForm;
using torch::Tensor;

Tensor leaf_of(const Tensor& value, const Tensor& like) {
  return value.detach()
      .to(like.device(), torch::kFloat32, /*non_blocking=*/false, /*copy=*/true)
      .contiguous()
      .requires_grad_(true);
}

Tensor same_leaf(const Tensor& leaf) {
  auto own = torch::empty({0}, leaf.options());
  own.set_data(leaf.detach());
  return own.requires_grad_(leaf.requires_grad());
}

concepts::LayerUpdate start_update(const nn::LoraLayer& layer, const WeightPlan& plan,
                                   std::uint64_t seed, std::uint64_t draw) {
  switch (plan.form) {
    case WeightForm::kFull:
      return forms::full_start(layer);
    case WeightForm::kSpectral:
      return forms::spectral_start(layer);
    case WeightForm::kNeurons:
      return forms::neurons_start(layer);
    case WeightForm::kLowRank:
      break;
  }
  return forms::low_rank_start(layer, plan, seed, draw);
}

std::unique_ptr<TrainedLayer> train_layer(nn::LoraLayer& layer, const concepts::LayerUpdate& start,
                                          const WeightPlan& plan) {
  const auto* dense = start.dense();
  if (dense == nullptr) return forms::low_rank(layer, start.low_rank(), plan);
  if (dense->form == DenseForm::kDifference) return forms::full(layer, start);
  if (dense->form == DenseForm::kSpectral) return forms::spectral(layer, *dense);
  if (dense->form == DenseForm::kSilenced) return forms::neurons(layer, plan.silent_gate);
  throw Error(ErrorKind::kMismatch,
              fmt::format("{} cannot be trained here, expected LoRA, full differences, spectral "
                          "shifts or silenced neurons",
                          name_of(dense->form)));
}

}  // namespace mos::tune
