#pragma once

#include <torch/types.h>

/// How near painted pictures are to drawn ones, as a whole.
namespace mos::pretrain {

/// Fréchet distance of two sets of features [N,D] and [M,D], as of normal distributions with their
/// means and covariances: |m₁ − m₂|² + tr(C₁ + C₂ − 2·(C₁C₂)^½), in float64. Throws kUsage where a
/// set has fewer than two rows.
double frechet_distance(const torch::Tensor& a, const torch::Tensor& b);

/// Mean square of the Laplacian (four neighbours less four times the pixel) of the brightness
/// (0.299 R + 0.587 G + 0.114 B, 0…1) over the inner pixels of pictures uint8 [B,H,W,3].
double laplacian_energy(const torch::Tensor& pictures);

}  // namespace mos::pretrain
