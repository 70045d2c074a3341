#pragma once

#include <optional>

#include "mos/concepts/layer_update.h"

/// From the factors of an update to its matrix, form by form; shapes first.
namespace mos::concepts {

/// O and I of dense_matrix(update), from the shapes of its parts. Nothing for an update of the bias
/// alone and for the forms of weight_forms.h. Required: update.is_sound().
std::optional<MatrixShape> matrix_shape(const Dense& update);

/// The matrix of its form, [O,I] float64 on the CPU, not scaled and without DoRA's magnitude.
/// Required: matrix_shape(update).
torch::Tensor dense_matrix(const Dense& update);

/// up · down, flat, [O,I] float64 on the CPU.
torch::Tensor multiply_f64(const torch::Tensor& up, const torch::Tensor& down);

/// LoCon's `use_tucker`: the convolutions down 1×1, mid k×k and up 1×1 in a row. The first two are
/// one k×k convolution [r,C,k,k], float32.
torch::Tensor with_mid(const torch::Tensor& down, const torch::Tensor& mid);

}  // namespace mos::concepts
