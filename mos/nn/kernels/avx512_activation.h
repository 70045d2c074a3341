#pragma once

#include <cstdint>

/// Pointwise kernels on bfloat16 (passed as its bits) that compute in float32.
/// They need avx512_available(), see cpu_features.h; callers split the work over threads.
namespace mos::nn::kernels::avx512 {

enum class Pointwise { kSilu, kQuickGelu, kGelu };

/// y = f(x), both [count]. Beyond 1e30 the zeros of the left tail are lost: the sigmoid is 1e-38
/// there, the smallest that is computed with, and x makes something of it again.
void activate(Pointwise f, const uint16_t* x, uint16_t* y, int64_t count);

/// dx = f'(x) dy, all [count].
void activate_backward(Pointwise f, const uint16_t* x, const uint16_t* dy, uint16_t* dx,
                       int64_t count);

/// x [rows, 2*width] -> y [rows, width]: first half times gelu(second half).
void geglu(const uint16_t* x, uint16_t* y, int64_t rows, int64_t width);

/// dy [rows, width] -> dx [rows, 2*width].
void geglu_backward(const uint16_t* x, const uint16_t* dy, uint16_t* dx, int64_t rows,
                    int64_t width);

}  // namespace mos::nn::kernels::avx512
