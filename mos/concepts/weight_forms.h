#pragma once

#include <torch/types.h>

#include "mos/concepts/layer_update.h"

/// Updates that say what becomes of the weight itself: kSpectral and kSilenced.
namespace mos::concepts {

bool is_of_weight(DenseForm form);

/// Whether the parts of such an update are what they must be. Their shapes alone do not tell O and
/// I.
bool is_sound_of_weight(const Dense& update);

/// Whether `update`, which is sound, is one of a weight of this shape.
bool fits_weight(const Dense& update, torch::IntArrayRef weight_shape);

/// ΔW, float64 on the CPU, in the shape of `weight`. Required: fits_weight.
torch::Tensor difference_of_weight(const Dense& update, const torch::Tensor& weight, double scale);

/// A weight [O,…] seen as [O,I]: left [O,n], values [n] falling, right [n,I] with n = min(O,I);
/// float64 on the CPU. Tuning and applying must see the same one.
struct Spectrum {
  torch::Tensor left, values, right;
};
Spectrum spectrum_of(const torch::Tensor& weight);

}  // namespace mos::concepts
