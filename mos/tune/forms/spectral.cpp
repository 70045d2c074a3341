#include <algorithm>
#include <utility>

#include "mos/concepts/weight_forms.h"
#include "mos/tune/forms/forms.h"

namespace mos::tune::forms {

using concepts::Dense;
using concepts::DenseForm;
using concepts::LoraPart;
using torch::Tensor;

namespace {

/// SVDiff: W = U diag(σ) Vᵀ, of which δ in U diag(ReLU(σ + δ)) Vᵀ is trained.
class SpectralLayer final : public TrainedLayer {
 public:
  /// `spectrum` is of the layer's weight, float32 on its device; takes `shift` as its leaf.
  SpectralLayer(nn::LoraLayer& layer, concepts::Spectrum spectrum, const Tensor& shift)
      : layer_(layer), base_(layer.weight), spectrum_(std::move(spectrum)), shift_(shift) {
    put(1.0);
  }
  ~SpectralLayer() override { layer_.weight = base_; }

  std::vector<NamedParameter> leaves() const override { return {{"spectral_shift", shift_}}; }

  void put(double scale) override {
    if (scale == 0.0) {
      layer_.weight = base_;
      return;
    }
    const auto values = torch::relu(spectrum_.values + scale * shift_);
    layer_.weight = (spectrum_.left * values).matmul(spectrum_.right).view(base_.sizes());
  }

  std::optional<concepts::LayerUpdate> update() const override {
    return Dense{.form = DenseForm::kSpectral,
                 .parts = {{LoraPart::kSpectralShift, shift_.detach().cpu().clone()}}};
  }

  std::unique_ptr<TrainedLayer> replica(nn::LoraLayer& layer) const override {
    return std::make_unique<SpectralLayer>(layer, spectrum_, same_leaf(shift_));
  }

 private:
  nn::LoraLayer& layer_;
  Tensor base_;
  concepts::Spectrum spectrum_;
  Tensor shift_;
};

}  // namespace

concepts::LayerUpdate spectral_start(const nn::LoraLayer& layer) {
  const auto count = std::min(layer.out_features(), layer.in_features());
  return Dense{.form = DenseForm::kSpectral,
               .parts = {{LoraPart::kSpectralShift, torch::zeros({count})}}};
}

std::unique_ptr<TrainedLayer> spectral(nn::LoraLayer& layer, const Dense& start) {
  const auto exact = concepts::spectrum_of(layer.weight);
  const auto single = [&](const Tensor& x) { return x.to(layer.weight.device(), torch::kFloat32); };
  return std::make_unique<SpectralLayer>(
      layer, concepts::Spectrum{single(exact.left), single(exact.values), single(exact.right)},
      leaf_of(start.parts.at(LoraPart::kSpectralShift), layer.weight));
}

}  // namespace mos::tune::forms
