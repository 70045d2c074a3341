#include "mos/nn/kernels/avx512_norm.h"

#if defined(__x86_64__)

#pragma GCC target("avx512f,avx512bw,avx512vl,avx512dq,avx512bf16")

#include "mos/nn/kernels/avx512_math.h"

namespace mos::nn::kernels::avx512 {
namespace {

/// A row of coefficients, one a channel.
struct PerChannel {
  const float* values;
  __m512 operator()(int64_t i, __mmask16 mask) const { return load(values + i, mask); }
};

/// One coefficient for all elements.
struct Uniform {
  __m512 value;
  explicit Uniform(const float* p) : value(_mm512_set1_ps(*p)) {}
  __m512 operator()(int64_t, __mmask16) const { return value; }
};

inline __m512 masked(__mmask16 mask, __m512 v) { return _mm512_maskz_mov_ps(mask, v); }

/// The incoming gradient before the activation, at z = scale x + shift.
template <bool kSilu>
inline __m512 before_activation(__m512 dy, __m512 x, __m512 scale, __m512 shift) {
  if constexpr (kSilu) return _mm512_mul_ps(dy, silu_slope(_mm512_fmadd_ps(x, scale, shift)));
  return dy;
}

template <bool kSilu, class Coefficient>
void affine(const Coefficient& scale, const Coefficient& shift, const uint16_t* x, int64_t count,
            uint16_t* y) {
  for (int64_t i = 0; i < count; i += kLanes) {
    const __mmask16 mask = lanes(count - i);
    const __m512 z = _mm512_fmadd_ps(load(x + i, mask), scale(i, mask), shift(i, mask));
    store(y + i, mask, kSilu ? silu(z) : z);
  }
}

template <bool kSilu, class Coefficient>
void affine_backward(const Coefficient& scale, const Coefficient& shift, const Coefficient& slope,
                     const Coefficient& offset, const uint16_t* x, const uint16_t* dy,
                     int64_t count, uint16_t* dx) {
  for (int64_t i = 0; i < count; i += kLanes) {
    const __mmask16 mask = lanes(count - i);
    const __m512 value = load(x + i, mask);
    const __m512 a = scale(i, mask);
    const __m512 dz = before_activation<kSilu>(load(dy + i, mask), value, a, shift(i, mask));
    const __m512 rest = _mm512_fmadd_ps(value, slope(i, mask), offset(i, mask));
    store(dx + i, mask, _mm512_fmadd_ps(dz, a, rest));
  }
}

/// Calls `block(first_row, row_count, first_channel)` for tiles of rows that stay in the
/// first-level cache while all channels, `vectors` vectors at a time, pass over them.
template <int kVectors, class Block>
inline void for_each_tile(int64_t rows, int64_t channels, const Block& block) {
  constexpr int64_t kTileElements = 8192;
  const int64_t tile_rows = kTileElements / channels < 8 ? 8 : kTileElements / channels;
  for (int64_t row = 0; row < rows; row += tile_rows) {
    const int64_t count = rows - row < tile_rows ? rows - row : tile_rows;
    for (int64_t channel = 0; channel < channels; channel += kVectors * kLanes) {
      block(row, count, channel);
    }
  }
}

template <int kVectors>
void channel_masks(int64_t remaining, __mmask16 (&masks)[kVectors]) {
  for (int v = 0; v < kVectors; ++v) {
    const int64_t left = remaining - v * kLanes;
    masks[v] = left > 0 ? lanes(left) : __mmask16{0};
  }
}

inline void add_to(float* p, __mmask16 mask, __m512 v) {
  store(p, mask, _mm512_add_ps(load(p, mask), v));
}

/// Sum and sum of squared deviations of one row, kept in cache between the two passes.
inline void row_moments(const uint16_t* x, int64_t width, float eps, float* mean, float* rstd) {
  __m512 total = _mm512_setzero_ps();
  for (int64_t i = 0; i < width; i += kLanes) {
    total = _mm512_add_ps(total, load(x + i, lanes(width - i)));
  }
  *mean = sum(total) / static_cast<float>(width);
  const __m512 center = _mm512_set1_ps(*mean);
  __m512 square = _mm512_setzero_ps();
  for (int64_t i = 0; i < width; i += kLanes) {
    const __mmask16 mask = lanes(width - i);
    const __m512 d = masked(mask, _mm512_sub_ps(load(x + i, mask), center));
    square = _mm512_fmadd_ps(d, d, square);
  }
  *rstd = 1.0F / __builtin_sqrtf(sum(square) / static_cast<float>(width) + eps);
}

template <bool kSilu>
void grad_moments_tiles(const GroupNormMap& map, const uint16_t* x, const uint16_t* dy,
                        int64_t rows, int64_t channels, const float* center, float* sum_out,
                        float* product_out) {
  constexpr int kVectors = 2;
  for_each_tile<kVectors>(rows, channels, [&](int64_t first, int64_t count, int64_t channel) {
    __mmask16 masks[kVectors];
    channel_masks(channels - channel, masks);
    __m512 scale[kVectors], shift[kVectors], middle[kVectors], total[kVectors], product[kVectors];
    for (int v = 0; v < kVectors; ++v) {
      const int64_t i = channel + v * kLanes;
      scale[v] = load(map.scale + i, masks[v]);
      shift[v] = load(map.shift + i, masks[v]);
      middle[v] = load(center + i, masks[v]);
      total[v] = product[v] = _mm512_setzero_ps();
    }
    for (int64_t row = first; row < first + count; ++row) {
      for (int v = 0; v < kVectors; ++v) {
        const int64_t i = row * channels + channel + v * kLanes;
        const __m512 value = load(x + i, masks[v]);
        const __m512 dz =
            before_activation<kSilu>(load(dy + i, masks[v]), value, scale[v], shift[v]);
        total[v] = _mm512_add_ps(total[v], dz);
        product[v] = _mm512_fmadd_ps(dz, _mm512_sub_ps(value, middle[v]), product[v]);
      }
    }
    for (int v = 0; v < kVectors; ++v) {
      add_to(sum_out + channel + v * kLanes, masks[v], total[v]);
      add_to(product_out + channel + v * kLanes, masks[v], product[v]);
    }
  });
}

template <bool kSilu>
void grad_moments_line(const GroupNormMap& map, const uint16_t* x, const uint16_t* dy,
                       int64_t count, float center, float* sum_out, float* product_out) {
  const Uniform scale(map.scale), shift(map.shift), middle(&center);
  __m512 total = _mm512_setzero_ps();
  __m512 product = _mm512_setzero_ps();
  for (int64_t i = 0; i < count; i += kLanes) {
    const __mmask16 mask = lanes(count - i);
    const __m512 value = load(x + i, mask);
    const __m512 dz = before_activation<kSilu>(load(dy + i, mask), value, scale.value, shift.value);
    total = _mm512_add_ps(total, dz);  // dy is zero in the lanes past the end
    product = _mm512_fmadd_ps(dz, _mm512_sub_ps(value, middle.value), product);
  }
  *sum_out += sum(total);
  *product_out += sum(product);
}

}  // namespace

void layer_norm(const LayerNorm& norm, const uint16_t* x, int64_t rows, uint16_t* y, float* mean,
                float* rstd) {
  for (int64_t row = 0; row < rows; ++row, x += norm.width, y += norm.width) {
    row_moments(x, norm.width, norm.eps, mean + row, rstd + row);
    const __m512 center = _mm512_set1_ps(mean[row]);
    const __m512 inverse = _mm512_set1_ps(rstd[row]);
    for (int64_t i = 0; i < norm.width; i += kLanes) {
      const __mmask16 mask = lanes(norm.width - i);
      const __m512 normal = _mm512_mul_ps(_mm512_sub_ps(load(x + i, mask), center), inverse);
      store(y + i, mask,
            _mm512_fmadd_ps(normal, load(norm.weight + i, mask), load(norm.bias + i, mask)));
    }
  }
}

void layer_norm_backward(const LayerNorm& norm, const uint16_t* x, const uint16_t* dy,
                         const float* mean, const float* rstd, int64_t rows, uint16_t* dx,
                         float* weight_grad, float* bias_grad) {
  const int64_t width = norm.width;
  const float inverse_width = 1.0F / static_cast<float>(width);
  for (int64_t row = 0; row < rows; ++row, x += width, dy += width, dx += width) {
    const __m512 center = _mm512_set1_ps(mean[row]);
    const __m512 inverse = _mm512_set1_ps(rstd[row]);
    __m512 total = _mm512_setzero_ps();
    __m512 product = _mm512_setzero_ps();
    for (int64_t i = 0; i < width; i += kLanes) {
      const __mmask16 mask = lanes(width - i);
      const __m512 grad = load(dy + i, mask);  // zero in the lanes past the end, so are the sums
      const __m512 normal = _mm512_mul_ps(_mm512_sub_ps(load(x + i, mask), center), inverse);
      const __m512 weighted = _mm512_mul_ps(grad, load(norm.weight + i, mask));
      total = _mm512_add_ps(total, weighted);
      product = _mm512_fmadd_ps(weighted, normal, product);
      if (weight_grad != nullptr) add_to(weight_grad + i, mask, _mm512_mul_ps(grad, normal));
      if (bias_grad != nullptr) add_to(bias_grad + i, mask, grad);
    }
    const __m512 mean_grad = _mm512_set1_ps(sum(total) * inverse_width);
    const __m512 mean_product = _mm512_set1_ps(sum(product) * inverse_width);
    for (int64_t i = 0; i < width; i += kLanes) {
      const __mmask16 mask = lanes(width - i);
      const __m512 normal = _mm512_mul_ps(_mm512_sub_ps(load(x + i, mask), center), inverse);
      const __m512 weighted = _mm512_mul_ps(load(dy + i, mask), load(norm.weight + i, mask));
      const __m512 rest = _mm512_fmadd_ps(normal, mean_product, mean_grad);
      store(dx + i, mask, _mm512_mul_ps(inverse, _mm512_sub_ps(weighted, rest)));
    }
  }
}

void moments_rows(const uint16_t* x, int64_t rows, int64_t channels, const float* center,
                  float* sum_out, float* square_out) {
  constexpr int kVectors = 4;
  for_each_tile<kVectors>(rows, channels, [&](int64_t first, int64_t count, int64_t channel) {
    __mmask16 masks[kVectors];
    channel_masks(channels - channel, masks);
    __m512 middle[kVectors], total[kVectors], square[kVectors];
    for (int v = 0; v < kVectors; ++v) {
      middle[v] = load(center + channel + v * kLanes, masks[v]);
      total[v] = square[v] = _mm512_setzero_ps();
    }
    for (int64_t row = first; row < first + count; ++row) {
      for (int v = 0; v < kVectors; ++v) {
        const __m512 value = load(x + row * channels + channel + v * kLanes, masks[v]);
        const __m512 d = _mm512_sub_ps(value, middle[v]);
        total[v] = _mm512_add_ps(total[v], d);
        square[v] = _mm512_fmadd_ps(d, d, square[v]);
      }
    }
    for (int v = 0; v < kVectors; ++v) {
      add_to(sum_out + channel + v * kLanes, masks[v], total[v]);
      add_to(square_out + channel + v * kLanes, masks[v], square[v]);
    }
  });
}

void moments_channel(const uint16_t* x, int64_t count, float center, float* sum_out,
                     float* square_out) {
  const __m512 middle = _mm512_set1_ps(center);
  __m512 total = _mm512_setzero_ps();
  __m512 square = _mm512_setzero_ps();
  for (int64_t i = 0; i < count; i += kLanes) {
    const __mmask16 mask = lanes(count - i);
    const __m512 d = masked(mask, _mm512_sub_ps(load(x + i, mask), middle));
    total = _mm512_add_ps(total, d);
    square = _mm512_fmadd_ps(d, d, square);
  }
  *sum_out += sum(total);
  *square_out += sum(square);
}

void group_norm_rows(const GroupNormMap& map, const uint16_t* x, int64_t rows, int64_t channels,
                     uint16_t* y) {
  const PerChannel scale{map.scale}, shift{map.shift};
  for (int64_t row = 0; row < rows; ++row, x += channels, y += channels) {
    if (map.silu) {
      affine<true>(scale, shift, x, channels, y);
    } else {
      affine<false>(scale, shift, x, channels, y);
    }
  }
}

void group_norm_channel(const GroupNormMap& map, const uint16_t* x, int64_t count, uint16_t* y) {
  const Uniform scale(map.scale), shift(map.shift);
  if (map.silu) {
    affine<true>(scale, shift, x, count, y);
  } else {
    affine<false>(scale, shift, x, count, y);
  }
}

void grad_moments_rows(const GroupNormMap& map, const uint16_t* x, const uint16_t* dy, int64_t rows,
                       int64_t channels, const float* center, float* sum_out, float* product_out) {
  if (map.silu) {
    grad_moments_tiles<true>(map, x, dy, rows, channels, center, sum_out, product_out);
  } else {
    grad_moments_tiles<false>(map, x, dy, rows, channels, center, sum_out, product_out);
  }
}

void grad_moments_channel(const GroupNormMap& map, const uint16_t* x, const uint16_t* dy,
                          int64_t count, float center, float* sum_out, float* product_out) {
  if (map.silu) {
    grad_moments_line<true>(map, x, dy, count, center, sum_out, product_out);
  } else {
    grad_moments_line<false>(map, x, dy, count, center, sum_out, product_out);
  }
}

void group_norm_backward_rows(const GroupNormGradMap& map, const uint16_t* x, const uint16_t* dy,
                              int64_t rows, int64_t channels, uint16_t* dx) {
  const PerChannel scale{map.forward.scale}, shift{map.forward.shift}, slope{map.slope},
      offset{map.offset};
  for (int64_t row = 0; row < rows; ++row, x += channels, dy += channels, dx += channels) {
    if (map.forward.silu) {
      affine_backward<true>(scale, shift, slope, offset, x, dy, channels, dx);
    } else {
      affine_backward<false>(scale, shift, slope, offset, x, dy, channels, dx);
    }
  }
}

void group_norm_backward_channel(const GroupNormGradMap& map, const uint16_t* x, const uint16_t* dy,
                                 int64_t count, uint16_t* dx) {
  const Uniform scale(map.forward.scale), shift(map.forward.shift), slope(map.slope),
      offset(map.offset);
  if (map.forward.silu) {
    affine_backward<true>(scale, shift, slope, offset, x, dy, count, dx);
  } else {
    affine_backward<false>(scale, shift, slope, offset, x, dy, count, dx);
  }
}

}  // namespace mos::nn::kernels::avx512

#endif  // __x86_64__
