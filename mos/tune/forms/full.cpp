#include "mos/tune/forms/forms.h"

namespace mos::tune::forms {

using concepts::Dense;
using concepts::LoraPart;
using torch::Tensor;

namespace {

/// The weight itself, and the bias of a layer that has one.
class FullLayer final : public TrainedLayer {
 public:
  /// Takes the leaves; `bias` may be undefined.
  FullLayer(nn::LoraLayer& layer, const Tensor& weight, const Tensor& bias)
      : layer_(layer),
        base_weight_(layer.weight),
        base_bias_(layer.bias),
        weight_(weight),
        bias_(bias) {
    put(1.0);
  }
  ~FullLayer() override {
    layer_.weight = base_weight_;
    layer_.bias = base_bias_;
  }

  std::vector<NamedParameter> leaves() const override {
    if (!bias_.defined()) return {{"weight", weight_}};
    return {{"weight", weight_}, {"bias", bias_}};
  }

  void put(double scale) override {
    layer_.weight = at_scale(base_weight_, weight_, scale);
    if (bias_.defined()) layer_.bias = at_scale(base_bias_, bias_, scale);
  }

  std::optional<concepts::LayerUpdate> update() const override {
    const auto change = [](const Tensor& base, const Tensor& now) {
      return (now.detach() - base.detach().to(torch::kFloat32)).cpu();
    };
    Dense update{.parts = {{LoraPart::kDifference, change(base_weight_, weight_)}}};
    if (bias_.defined()) update.parts[LoraPart::kBiasDifference] = change(base_bias_, bias_);
    return update;
  }

  std::unique_ptr<TrainedLayer> replica(nn::LoraLayer& layer) const override {
    return std::make_unique<FullLayer>(layer, same_leaf(weight_),
                                       bias_.defined() ? same_leaf(bias_) : Tensor());
  }

 private:
  static Tensor at_scale(const Tensor& base, const Tensor& now, double scale) {
    if (scale == 1.0) return now;
    if (scale == 0.0) return base;
    const auto before = base.detach().to(torch::kFloat32);
    return before + scale * (now - before);
  }

  nn::LoraLayer& layer_;
  Tensor base_weight_, base_bias_;
  Tensor weight_, bias_;
};

}  // namespace

concepts::LayerUpdate full_start(const nn::LoraLayer& layer) {
  const auto none = [](const Tensor& like) { return torch::zeros({1}).expand(like.sizes()); };
  Dense start{.parts = {{LoraPart::kDifference, none(layer.weight)}}};
  if (layer.bias.defined()) start.parts[LoraPart::kBiasDifference] = none(layer.bias);
  return start;
}

std::unique_ptr<TrainedLayer> full(nn::LoraLayer& layer, const concepts::LayerUpdate& start) {
  const auto weight = leaf_of(start.apply_to(layer.weight), layer.weight);
  const auto change = start.bias_difference();
  if (!change.defined()) return std::make_unique<FullLayer>(layer, weight, Tensor());
  const auto bias = layer.bias.detach().to(torch::kFloat32) + change.to(layer.bias.device());
  return std::make_unique<FullLayer>(layer, weight, leaf_of(bias, layer.bias));
}

}  // namespace mos::tune::forms
