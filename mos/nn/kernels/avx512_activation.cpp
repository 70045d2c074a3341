#include "mos/nn/kernels/avx512_activation.h"

#if defined(__x86_64__)

#pragma GCC target("avx512f,avx512bw,avx512vl,avx512dq,avx512bf16")

#include "mos/nn/kernels/avx512_math.h"

namespace mos::nn::kernels::avx512 {
namespace {

constexpr float kQuickGeluSlope = 1.702F;

/// The distribution function Phi of the normal distribution and its density at x.
struct Normal {
  __m512 below;
  __m512 density;
};

/// Abramowitz and Stegun 7.1.26 for erf, absolute error 1.5e-7; its exp is the density's as well.
inline Normal normal(__m512 x) {
  const __m512 one = _mm512_set1_ps(1.0F);
  const __m512 z = _mm512_mul_ps(_mm512_abs_ps(x), _mm512_set1_ps(0.70710678F));
  const __m512 t = reciprocal(_mm512_fmadd_ps(z, _mm512_set1_ps(0.3275911F), one));
  const __m512 e = exp(_mm512_sub_ps(_mm512_setzero_ps(), _mm512_mul_ps(z, z)));
  __m512 p = _mm512_set1_ps(1.061405429F);
  p = _mm512_fmadd_ps(p, t, _mm512_set1_ps(-1.453152027F));
  p = _mm512_fmadd_ps(p, t, _mm512_set1_ps(1.421413741F));
  p = _mm512_fmadd_ps(p, t, _mm512_set1_ps(-0.284496736F));
  p = _mm512_fmadd_ps(p, t, _mm512_set1_ps(0.254829592F));
  const __m512 half_tail =
      _mm512_mul_ps(_mm512_mul_ps(p, t), _mm512_mul_ps(e, _mm512_set1_ps(0.5F)));
  const __mmask16 positive = _mm512_cmp_ps_mask(x, _mm512_setzero_ps(), _CMP_GT_OQ);
  return {_mm512_mask_sub_ps(half_tail, positive, one, half_tail),
          _mm512_mul_ps(e, _mm512_set1_ps(0.39894228F))};
}

inline __m512 gelu(__m512 x) { return _mm512_mul_ps(x, normal(x).below); }

template <Pointwise f>
inline __m512 value(__m512 x) {
  if constexpr (f == Pointwise::kSilu) return silu(x);
  if constexpr (f == Pointwise::kGelu) return gelu(x);
  return _mm512_mul_ps(x, sigmoid(_mm512_mul_ps(x, _mm512_set1_ps(kQuickGeluSlope))));
}

template <Pointwise f>
inline __m512 slope(__m512 x) {
  if constexpr (f == Pointwise::kGelu) {
    const Normal n = normal(x);
    return _mm512_fmadd_ps(x, n.density, n.below);
  }
  // x sigmoid(a x) = silu(a x) / a, so its slope is silu's at a x.
  if constexpr (f == Pointwise::kQuickGelu) x = _mm512_mul_ps(x, _mm512_set1_ps(kQuickGeluSlope));
  return silu_slope(x);
}

template <Pointwise f>
void map(const uint16_t* x, uint16_t* y, int64_t count) {
  for (int64_t i = 0; i < count; i += kLanes) {
    const __mmask16 mask = lanes(count - i);
    store(y + i, mask, value<f>(load(x + i, mask)));
  }
}

template <Pointwise f>
void map_backward(const uint16_t* x, const uint16_t* dy, uint16_t* dx, int64_t count) {
  for (int64_t i = 0; i < count; i += kLanes) {
    const __mmask16 mask = lanes(count - i);
    store(dx + i, mask, _mm512_mul_ps(load(dy + i, mask), slope<f>(load(x + i, mask))));
  }
}

}  // namespace

void activate(Pointwise f, const uint16_t* x, uint16_t* y, int64_t count) {
  switch (f) {
    case Pointwise::kSilu:
      return map<Pointwise::kSilu>(x, y, count);
    case Pointwise::kQuickGelu:
      return map<Pointwise::kQuickGelu>(x, y, count);
    case Pointwise::kGelu:
      return map<Pointwise::kGelu>(x, y, count);
  }
}

void activate_backward(Pointwise f, const uint16_t* x, const uint16_t* dy, uint16_t* dx,
                       int64_t count) {
  switch (f) {
    case Pointwise::kSilu:
      return map_backward<Pointwise::kSilu>(x, dy, dx, count);
    case Pointwise::kQuickGelu:
      return map_backward<Pointwise::kQuickGelu>(x, dy, dx, count);
    case Pointwise::kGelu:
      return map_backward<Pointwise::kGelu>(x, dy, dx, count);
  }
}

void geglu(const uint16_t* x, uint16_t* y, int64_t rows, int64_t width) {
  for (int64_t row = 0; row < rows; ++row, x += 2 * width, y += width) {
    for (int64_t i = 0; i < width; i += kLanes) {
      const __mmask16 mask = lanes(width - i);
      const __m512 gate = gelu(load(x + width + i, mask));
      store(y + i, mask, _mm512_mul_ps(load(x + i, mask), gate));
    }
  }
}

void geglu_backward(const uint16_t* x, const uint16_t* dy, uint16_t* dx, int64_t rows,
                    int64_t width) {
  for (int64_t row = 0; row < rows; ++row, x += 2 * width, dx += 2 * width, dy += width) {
    for (int64_t i = 0; i < width; i += kLanes) {
      const __mmask16 mask = lanes(width - i);
      const __m512 gate = load(x + width + i, mask);
      const __m512 grad = load(dy + i, mask);
      const Normal n = normal(gate);
      store(dx + i, mask, _mm512_mul_ps(grad, _mm512_mul_ps(gate, n.below)));
      const __m512 gate_slope = _mm512_fmadd_ps(gate, n.density, n.below);
      store(dx + width + i, mask,
            _mm512_mul_ps(_mm512_mul_ps(grad, load(x + i, mask)), gate_slope));
    }
  }
}

}  // namespace mos::nn::kernels::avx512

#endif  // __x86_64__
