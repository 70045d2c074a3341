#pragma once

#include <torch/types.h>

/// Rows of [B,N,C] by number, on a CPU and without gradients; arguments are contiguous. ATen's
/// index_select and index_add prepare a call for each row, which takes longer than the row.
namespace mos::nn::kernels {

/// mos::nn::take_rows.
torch::Tensor copy_rows(const torch::Tensor& x, const torch::Tensor& rows);

/// mos::nn::weighted_rows of float32 or bfloat16.
torch::Tensor add_rows(const torch::Tensor& x, const torch::Tensor& rows,
                       const torch::Tensor& weights);

}  // namespace mos::nn::kernels
