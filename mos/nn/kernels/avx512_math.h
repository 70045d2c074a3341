#pragma once

// Vector helpers shared by the avx512_*.cpp files. Include it only after their
// `#pragma GCC target`, and nothing with templates or inline functions after that pragma: such
// functions, compiled with AVX-512, could replace the portable copies of other files at link time.
// For the same reason everything here lives in an unnamed namespace.

#include <immintrin.h>

#include <cstdint>

// GCC 12 takes the deliberately undefined operands inside its intrinsics for ours (GCC PR 105593).
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"

namespace mos::nn::kernels::avx512 {
namespace {

constexpr int64_t kLanes = 16;

/// The lanes that `remaining` elements fill, all of them from 16 on.
inline __mmask16 lanes(int64_t remaining) {
  return remaining >= kLanes ? __mmask16{0xffff}
                             : static_cast<__mmask16>((1U << static_cast<unsigned>(remaining)) - 1);
}

/// bfloat16 is the upper half of a float32.
inline __m512 load(const uint16_t* p, __mmask16 mask) {
  const __m512i wide = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(mask, p));
  return _mm512_castsi512_ps(_mm512_slli_epi32(wide, 16));
}

inline __m512 load(const float* p, __mmask16 mask) { return _mm512_maskz_loadu_ps(mask, p); }

/// Rounds to nearest even.
inline void store(uint16_t* p, __mmask16 mask, __m512 value) {
  const __m256bh narrow = _mm512_cvtneps_pbh(value);
  _mm256_mask_storeu_epi16(p, mask, reinterpret_cast<const __m256i&>(narrow));
}

inline void store(float* p, __mmask16 mask, __m512 value) { _mm512_mask_storeu_ps(p, mask, value); }

/// 2^t for t up to 127, where results below 2^-149 are zero; infinite t gives NaN.
/// The relative error of 4e-6 is far below bfloat16's 2e-3.
inline __m512 exp2_unclamped(__m512 t) {
  const __m512 whole = _mm512_roundscale_ps(t, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  const __m512 rest = _mm512_sub_ps(t, whole);  // in -0.5..0.5, where this interpolates 2^rest
  __m512 p = _mm512_set1_ps(9.666368515e-3F);
  p = _mm512_fmadd_ps(p, rest, _mm512_set1_ps(5.592197584e-2F));
  p = _mm512_fmadd_ps(p, rest, _mm512_set1_ps(2.402234904e-1F));
  p = _mm512_fmadd_ps(p, rest, _mm512_set1_ps(6.931210452e-1F));
  p = _mm512_fmadd_ps(p, rest, _mm512_set1_ps(1.0F));
  return _mm512_scalef_ps(p, whole);
}

/// The same with t kept in -150..126: never infinite, and NaN stays NaN.
inline __m512 exp2(__m512 t) {
  // The second operand is what min and max return for NaN.
  t = _mm512_max_ps(_mm512_set1_ps(-150.0F), t);
  return exp2_unclamped(_mm512_min_ps(_mm512_set1_ps(126.0F), t));
}

inline __m512 exp(__m512 x) { return exp2(_mm512_mul_ps(x, _mm512_set1_ps(1.44269504F))); }

/// 1/x to float32 precision: the 14-bit estimate and one Newton step, cheaper than a division.
inline __m512 reciprocal(__m512 x) {
  const __m512 estimate = _mm512_rcp14_ps(x);
  const __m512 error = _mm512_fnmadd_ps(x, estimate, _mm512_set1_ps(2.0F));
  return _mm512_mul_ps(estimate, error);
}

inline __m512 sigmoid(__m512 x) {
  const __m512 e = exp2(_mm512_mul_ps(x, _mm512_set1_ps(-1.44269504F)));
  return reciprocal(_mm512_add_ps(_mm512_set1_ps(1.0F), e));
}

inline __m512 silu(__m512 x) { return _mm512_mul_ps(x, sigmoid(x)); }

/// d/dx (x s) with s = sigmoid(x): s (1 + x (1 - s)).
inline __m512 silu_slope(__m512 x) {
  const __m512 s = sigmoid(x);
  return _mm512_fmadd_ps(_mm512_mul_ps(s, x), _mm512_sub_ps(_mm512_set1_ps(1.0F), s), s);
}

inline float sum(__m512 v) { return _mm512_reduce_add_ps(v); }

}  // namespace
}  // namespace mos::nn::kernels::avx512
