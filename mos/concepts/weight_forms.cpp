#include "mos/concepts/weight_forms.h"

#include <algorithm>

namespace mos::concepts {

using torch::Tensor;

namespace {

std::int64_t numel_of(torch::IntArrayRef shape) {
  std::int64_t product = 1;
  for (const auto size : shape) product *= size;
  return product;
}

/// Places that rise from 0 on; perhaps none.
bool are_places(const Tensor& places) {
  const bool integers =
      places.scalar_type() == torch::kInt32 || places.scalar_type() == torch::kInt64;
  if (!integers || places.dim() != 1) return false;
  if (places.numel() == 0) return true;
  const auto wide = places.to(torch::kInt64);
  const auto steps = wide.slice(0, 1) > wide.slice(0, 0, -1);
  return wide[0].item<std::int64_t>() >= 0 && steps.all().item<bool>();
}

Tensor spectral_difference(const Tensor& weight, const Tensor& shift) {
  const auto [left, values, right] = spectrum_of(weight);
  const auto moved = (values + shift.detach().to(torch::kCPU, torch::kFloat64)).clamp_min(0.0);
  return (left * (moved - values)).matmul(right).view(weight.sizes());
}

Tensor silenced_difference(const Tensor& weight, const Tensor& places) {
  const auto before = weight.detach().to(torch::kCPU, torch::kFloat64).flatten();
  auto difference = torch::zeros_like(before);
  const auto where = places.to(torch::kCPU, torch::kInt64);
  difference.index_copy_(0, where, -before.index_select(0, where));
  return difference.view(weight.sizes());
}

}  // namespace

bool is_of_weight(DenseForm form) {
  return form == DenseForm::kSpectral || form == DenseForm::kSilenced;
}

bool is_sound_of_weight(const Dense& update) {
  if (update.form == DenseForm::kSilenced) {
    const auto found = update.parts.find(LoraPart::kSilenced);
    return found != update.parts.end() && are_places(found->second);
  }
  const auto found = update.parts.find(LoraPart::kSpectralShift);
  return found != update.parts.end() && found->second.is_floating_point() &&
         found->second.dim() == 1 && found->second.numel() > 0;
}

bool fits_weight(const Dense& update, torch::IntArrayRef weight_shape) {
  const auto numel = numel_of(weight_shape);
  if (update.form == DenseForm::kSpectral) {
    const auto outputs = weight_shape[0];
    return update.parts.at(LoraPart::kSpectralShift).numel() == std::min(outputs, numel / outputs);
  }
  const auto& places = update.parts.at(LoraPart::kSilenced);
  return places.numel() == 0 || places[-1].item<std::int64_t>() < numel;
}

Tensor difference_of_weight(const Dense& update, const Tensor& weight, double scale) {
  if (update.form == DenseForm::kSpectral) {
    return spectral_difference(weight, update.parts.at(LoraPart::kSpectralShift) * scale);
  }
  return silenced_difference(weight, update.parts.at(LoraPart::kSilenced)) * scale;
}

Spectrum spectrum_of(const Tensor& weight) {
  const auto matrix = weight.detach().to(torch::kCPU, torch::kFloat64).flatten(1);
  auto [left, values, right] = torch::linalg_svd(matrix, /*full_matrices=*/false);
  return {left, values, right};
}

}  // namespace mos::concepts
