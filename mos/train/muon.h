#pragma once

#include <torch/types.h>

#include <string>

/// Muon (Jordan et al. 2024, https://kellerjordan.github.io/posts/muon): the momentum of a matrix,
/// made orthogonal, is its update. Every direction of a layer then learns at one pace, where
/// AdamW's updates are nearly of rank one.
namespace mos::train {

/// About U V^T of the singular value decomposition of `matrix` [r,c], or of each of [n,r,c]: five
/// Newton-Schulz iterations in bfloat16 bring all singular values near 1. float32 of that shape.
torch::Tensor orthogonalised(const torch::Tensor& matrix);

/// The factor on an orthogonal update of a matrix [r,c] that makes its entries about as large as
/// AdamW's, so that one learning rate serves both (arXiv 2502.16982, section 2.2).
double muon_scale(std::int64_t rows, std::int64_t columns);

/// Whether Muon suits a U-Net's parameter of this name: its matrices and kernels but for the first
/// and the last layer and embeddings, which stay with AdamW.
bool muon_suits(const std::string& name);

}  // namespace mos::train
