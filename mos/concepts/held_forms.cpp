#include "mos/concepts/held_forms.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <map>

#include "mos/base/counted.h"
#include "mos/base/error.h"
#include "mos/concepts/lora.h"
#include "mos/concepts/weight_forms.h"

namespace mos::concepts {

using torch::Tensor;

namespace {

bool has_magnitude(const LayerUpdate& update) {
  return update.dense() != nullptr && update.dense()->has(LoraPart::kMagnitude);
}

/// PEFT's DoRA: two factors and a norm for each output.
bool is_peft_dora(const LayerUpdate& update) {
  const auto* dense = update.dense();
  return dense != nullptr && dense->form == DenseForm::kProduct && has_magnitude(update) &&
         dense->parts.size() == 3 &&
         dense->parts.at(LoraPart::kMagnitude).numel() == dense->parts.at(LoraPart::kUp).size(0) &&
         // Norms of the inputs have another shape: LyCORIS has those too, PEFT none.
         dense->parts.at(LoraPart::kMagnitude).size(0) == dense->parts.at(LoraPart::kUp).size(0);
}

/// The side of a convolution's kernel, which flat factors do not tell.
std::int64_t kernel_side(const std::string& layer) {
  for (const char* ending : {".conv1", ".conv2", ".conv", "conv_in", "conv_out"}) {
    if (layer.ends_with(ending)) return 3;
  }
  return 1;
}

/// A stand-in of the weight's shape, for updates that do not depend on its values.
Tensor weight_like(const std::string& layer, const LayerUpdate& update) {
  const auto features = *update.features();
  // No memory: one zero that is expanded.
  const auto side = kernel_side(layer);
  if (side == 1) return torch::zeros({1, 1}).expand({features.out, features.in});
  return torch::zeros({1, 1, 1, 1}).expand({features.out, features.in / (side * side), side, side});
}

class Reducer {
 public:
  Reducer(HeldForms held, std::int64_t rank) : held_(held), rank_(rank) {}

  /// `base` may be null.
  void reduce(LayerUpdates& updates, torch::nn::Module* base) {
    std::map<std::string, Tensor> weights;
    if (base != nullptr) {
      const auto layers = find_layers(*base, updates, "the concept");
      std::size_t i = 0;
      for (const auto& [layer, update] : updates) weights[layer] = layers[i++]->weight.detach();
    }
    for (auto& [layer, update] : updates) {
      if (holds(held_, update)) continue;
      if (!holds_biases(held_)) refuse_bias(layer, update);
      // Exact, and smaller than what an approximation would be.
      if (const auto pair = update.as_pair()) {
        update = *pair;
        continue;
      }
      const auto weight = weights.find(layer);
      // DoRA divides by the norm of W0 + ΔW: what such updates change is nothing without W0.
      if (update.depends_on_weight() && weight == weights.end()) refuse_blind(layer, update);
      approximate(layer, update,
                  weight == weights.end() ? weight_like(layer, update) : weight->second);
    }
  }

  Reduction result(ConceptDelta delta) const {
    return {.delta = std::move(delta),
            .layers = layers_,
            .relative_error = whole_ > 0.0 ? std::sqrt(rest_ / whole_) : 0.0,
            .worst = worst_,
            .worst_layer = worst_layer_};
  }

 private:
  void approximate(const std::string& layer, LayerUpdate& update, const Tensor& weight) {
    auto near = update.as_low_rank(rank_, weight);
    // Relative to the update, in the Frobenius norm; sums of squares add up over layers.
    const double error = near.whole > 0.0 ? std::sqrt(near.rest / near.whole) : 0.0;
    if (layers_ == 0 || error > worst_) {
      worst_ = error;
      worst_layer_ = layer;
    }
    ++layers_;
    rest_ += near.rest;
    whole_ += near.whole;
    const auto bias = update.bias_difference();
    update = with_bias(std::move(near.update), bias);
  }

  static void refuse_bias(const std::string& layer, const LayerUpdate& update) {
    if (!update.bias_difference().defined()) return;
    throw Error(ErrorKind::kMismatch,
                fmt::format("the concept changes the bias of {}, for which such a file has no "
                            "place; write the format mos or kohya",
                            layer));
  }

  [[noreturn]] static void refuse_blind(const std::string& layer, const LayerUpdate& update) {
    const bool dora = has_magnitude(update);
    throw Error(
        ErrorKind::kMismatch,
        fmt::format("what the {} of {} changes depends on the base model's weights; name "
                    "that with --base, or write the format mos{}",
                    dora ? "DoRA" : name_of(update.dense()->form), layer, dora ? " or kohya" : ""));
  }

  HeldForms held_;
  std::int64_t rank_;
  std::int64_t layers_ = 0;
  double rest_ = 0.0, whole_ = 0.0, worst_ = 0.0;
  std::string worst_layer_;
};

}  // namespace

bool holds_biases(HeldForms held) { return held >= HeldForms::kPairsAndBiases; }

bool holds(HeldForms held, const LayerUpdate& update) {
  switch (held) {
    case HeldForms::kNone:
      return false;
    case HeldForms::kPairs:
      return update.is_low_rank();
    case HeldForms::kPairsAndDora:
      return update.is_low_rank() || is_peft_dora(update);
    case HeldForms::kPairsAndBiases:
      return update.as_pair() || !update.changes_weight();
    case HeldForms::kLycoris:
      return update.is_low_rank() || !is_of_weight(update.dense()->form);
    case HeldForms::kAll:
      break;
  }
  return true;
}

std::string cost_text(const Reduction& reduction, std::int64_t rank) {
  const bool one = reduction.layers == 1;
  return fmt::format(
      "{} became {} of rank {} at most: {:.3g} % of {} is lost (norms of the differences), "
      "{:.3g} % in {}",
      counted(static_cast<std::size_t>(reduction.layers), "layer"), one ? "a pair" : "pairs", rank,
      100 * reduction.relative_error, one ? "its update" : "their updates", 100 * reduction.worst,
      reduction.worst_layer);
}

bool needs_base(HeldForms held, const ConceptDelta& delta) {
  return std::ranges::any_of(delta.updates, [held](const auto& network) {
    return std::ranges::any_of(network.second, [held](const auto& entry) {
      return !holds(held, entry.second) && entry.second.depends_on_weight();
    });
  });
}

Reduction reduced_to(HeldForms held, ConceptDelta delta, std::int64_t rank,
                     diffusion::Model* base) {
  Reducer reducer(held, rank);
  for (auto& [part, updates] : delta.updates) {
    const auto network = base == nullptr ? nullptr : base->network(part);
    reducer.reduce(updates, network.get());
  }
  return reducer.result(std::move(delta));
}

}  // namespace mos::concepts
