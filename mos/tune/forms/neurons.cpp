#include "mos/concepts/weight_forms.h"
#include "mos/tune/forms/forms.h"

namespace mos::tune::forms {

using concepts::Dense;
using concepts::DenseForm;
using concepts::LoraPart;
using torch::Tensor;

namespace {

/// Cones: W = (1 + gate) ∘ W0. Gradient descent moves a gate by −rate · W0 ∘ ∂L/∂W at each step, so
/// that it ends at −rate times the sum of these; entries where that sum is large are the concept's
/// neurons. Gates begin at 0, since 1 + gate would lose them: they stay near 1e-7.
class NeuronLayer final : public TrainedLayer {
 public:
  NeuronLayer(nn::LoraLayer& layer, const Tensor& gate, double silent_gate)
      : layer_(layer), base_(layer.weight), gate_(gate), silent_gate_(silent_gate) {
    put(1.0);
  }
  ~NeuronLayer() override { layer_.weight = base_; }

  std::vector<NamedParameter> leaves() const override { return {{"gate", gate_}}; }

  void put(double scale) override {
    const auto before = base_.detach().to(torch::kFloat32);
    layer_.weight = scale == 0.0 ? base_ : before + before * (scale * gate_);
  }

  void show(double scale) override {
    const auto found = update();
    layer_.weight = found ? found->apply_to(base_, scale) : base_;
  }

  std::optional<concepts::LayerUpdate> update() const override {
    const auto fallen = (gate_.detach().flatten() <= -silent_gate_).nonzero().flatten();
    if (fallen.numel() == 0) return std::nullopt;
    return Dense{.form = DenseForm::kSilenced,
                 .parts = {{LoraPart::kSilenced, fallen.to(torch::kCPU, torch::kInt32)}}};
  }

  std::unique_ptr<TrainedLayer> replica(nn::LoraLayer& layer) const override {
    return std::make_unique<NeuronLayer>(layer, same_leaf(gate_), silent_gate_);
  }

 private:
  nn::LoraLayer& layer_;
  Tensor base_, gate_;
  double silent_gate_;
};

}  // namespace

/// No neuron yet.
concepts::LayerUpdate neurons_start(const nn::LoraLayer&) {
  return Dense{.form = DenseForm::kSilenced,
               .parts = {{LoraPart::kSilenced, torch::empty({0}, torch::kInt32)}}};
}

std::unique_ptr<TrainedLayer> neurons(nn::LoraLayer& layer, double silent_gate) {
  const auto gate = leaf_of(torch::zeros({1}).expand(layer.weight.sizes()), layer.weight);
  return std::make_unique<NeuronLayer>(layer, gate, silent_gate);
}

}  // namespace mos::tune::forms
