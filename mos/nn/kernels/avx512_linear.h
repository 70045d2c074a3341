#pragma once

#include <cstdint>

/// y = x w^T + bias + residual and its gradients on bfloat16 (passed as its bits), float32 sums,
/// one rounding at the end. Widths are multiples of kLinearWidth; rows any number.
/// All need avx512_available(), see cpu_features.h; callers split the work over threads.
namespace mos::nn::kernels::avx512 {

inline constexpr int64_t kLinearWidth = 16;

/// x [rows,in], y [rows,out], w [out,in].
struct LinearShape {
  int64_t in, out;
  int64_t weights() const { return in * out; }
  /// The shape of the product that takes dy to dx.
  LinearShape reversed() const { return {out, in}; }
};

/// Weights as linear_rows() reads them, weights()/2 32-bit units: for y, and for dx from dy.
void pack_linear(const LinearShape& shape, const uint16_t* weight, uint32_t* packed);
void pack_linear_reversed(const LinearShape& shape, const uint16_t* weight, uint32_t* packed);

/// What is added before rounding; each may be null.
struct LinearSummands {
  const float* bias;         ///< [out]
  const uint16_t* residual;  ///< [rows,out]
};

void linear_rows(const LinearShape& shape, const uint16_t* x, const uint32_t* packed,
                 const LinearSummands& summands, int64_t rows, uint16_t* y);

/// Rows whose products are summed at a time.
inline constexpr int64_t kLinearBlock = 256;
/// 32-bit units of scratch memory for linear_gradient().
int64_t linear_gradient_workspace(const LinearShape& shape);
/// Adds dy^T x over the rows to `weight_gradient` [out,in] and, unless null, the sums of dy to
/// `bias_gradient` [out].
void linear_gradient(const LinearShape& shape, const uint16_t* x, const uint16_t* dy, int64_t rows,
                     float* weight_gradient, float* bias_gradient, uint32_t* workspace);

/// Rounds float32 to bfloat16.
void round_values(const float* from, int64_t count, uint16_t* to);

}  // namespace mos::nn::kernels::avx512
