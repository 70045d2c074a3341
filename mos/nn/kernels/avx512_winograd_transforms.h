#pragma once

// The transforms of F(2x2, 3x3) on vectors of 16 channels. Include it only after
// `#pragma GCC target`, for the reasons in avx512_math.h.
//
// With d a patch of 4x4 pixels, g a kernel and m their 16 products, y = A^T [(G g G^T) (B^T d B)]
// A:
//   B^T = 1  0 -1  0    G = 1    0   0     A^T = 1  1  1  0
//         0  1  1  0        1/2  1/2 1/2         0  1 -1 -1
//         0 -1  1  0        1/2 -1/2 1/2
//         0  1  0 -1        0    0   1
// and the gradient of g is G^T [(B^T d B) (A dy A^T)] G.

#include "mos/nn/kernels/avx512_matrix.h"
#include "mos/nn/kernels/avx512_winograd.h"

namespace mos::nn::kernels::avx512 {
namespace {

constexpr __mmask16 kAllLanes = 0xffff;

inline __m512 add(__m512 a, __m512 b) { return _mm512_add_ps(a, b); }
inline __m512 subtract(__m512 a, __m512 b) { return _mm512_sub_ps(a, b); }
inline __m256i rounded(__m512 v) { return (__m256i)_mm512_cvtneps_pbh(v); }

/// Two rows of values as pairs of bfloat16: `low` in the low halves.
inline __m512i paired(__m512 low, __m512 high) {
  const __m512i joined = (__m512i)_mm512_cvtne2ps_pbh(high, low);
  const __m512i order = _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24,
                                         8, 23, 7, 22, 6, 21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
  return _mm512_permutexvar_epi16(order, joined);
}

/// Tiles of one row of one sample; `index` counts from the first tile of the group.
struct Span {
  int64_t sample, row, column, count, index;
};

template <class Visit>
inline void for_each_span(const ConvolutionShape& shape, const TileRange& tiles,
                          const Visit& visit) {
  const int64_t columns = shape.tile_columns(), rows = shape.tile_rows();
  for (int64_t tile = tiles.first; tile < tiles.last;) {
    const int64_t column = tile % columns;
    const int64_t left = tiles.last - tile;
    const int64_t count = columns - column < left ? columns - column : left;
    visit(Span{tile / columns / rows, tile / columns % rows, column, count, tile - tiles.first});
    tile += count;
  }
}

/// The 16 components of one tile for 16 channels.
using Components = __m512[kWinogradComponents];

/// Where a transformed tile goes: its place in the group, and whether the span goes on behind it.
struct TilePlace {
  int64_t tile, channel;
  bool goes_on;
};

/// Left operands: one row of channels for each tile, [component][tile][channel].
struct TileRows {
  uint16_t* data;
  int64_t component_stride, channels;

  void put(const TilePlace& place, const Components& values) {
    uint16_t* at = data + place.tile * channels + place.channel;
    for (const __m512& value : values) {
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(at), rounded(value));
      at += component_stride;
    }
  }
};

/// Operands that are summed over tiles: two neighbouring tiles in 32 bits.
struct TilePairs {
  uint32_t* data;
  int64_t component_stride, pair_stride, block_stride;  // a block is 16 channels
  Components first = {};                                // of a pair whose second tile comes next
  bool holds = false;

  void put(const TilePlace& place, const Components& values) {
    uint32_t* at = data + place.tile / 2 * pair_stride + place.channel / kLanes * block_stride;
    const bool second = place.tile % 2 != 0;
    if (!second && place.goes_on) {
      for (int64_t i = 0; i < kWinogradComponents; ++i) first[i] = values[i];
      holds = true;
      return;
    }
    if (second && holds) {
      for (int64_t i = 0; i < kWinogradComponents; ++i, at += component_stride) {
        _mm512_storeu_si512(at, paired(first[i], values[i]));
      }
      holds = false;
      return;
    }
    // The two tiles lie in different spans: the first one clears the half of the second.
    for (int64_t i = 0; i < kWinogradComponents; ++i, at += component_stride) {
      const __m512i wide = _mm512_cvtepu16_epi32(rounded(values[i]));
      _mm512_storeu_si512(
          at, second ? _mm512_or_si512(_mm512_loadu_si512(at), _mm512_slli_epi32(wide, 16)) : wide);
    }
  }
};

/// B^T d B of the patches of a span; the columns of a patch that the next one shares are kept.
template <class Target>
inline void transform_patches(const ConvolutionShape& shape, const uint16_t* x, const Span& span,
                              Target& target) {
  const int64_t channels = shape.in, stride = shape.width * channels;
  const int64_t top = 2 * span.row - 1;
  const uint16_t* const sample = x + (span.sample * shape.height + top) * stride;
  __mmask16 present[4];
  for (int64_t r = 0; r < 4; ++r) {
    present[r] = top + r >= 0 && top + r < shape.height ? kAllLanes : __mmask16{0};
  }
  for (int64_t channel = 0; channel < channels; channel += kLanes) {
    const auto column = [&](int64_t at, __m512(&t)[4]) {
      const __mmask16 inside = at >= 0 && at < shape.width ? kAllLanes : __mmask16{0};
      const uint16_t* const pixel = sample + at * channels + channel;
      __m512 d[4];
      for (int64_t r = 0; r < 4; ++r) {
        d[r] = load(pixel + r * stride, static_cast<__mmask16>(inside & present[r]));
      }
      t[0] = subtract(d[0], d[2]);
      t[1] = add(d[1], d[2]);
      t[2] = subtract(d[2], d[1]);
      t[3] = subtract(d[1], d[3]);
    };
    __m512 a[4], b[4], c[4], d[4];
    column(2 * span.column - 1, a);
    column(2 * span.column, b);
    for (int64_t i = 0; i < span.count; ++i) {
      column(2 * (span.column + i) + 1, c);
      column(2 * (span.column + i) + 2, d);
      Components v;
      for (int64_t r = 0; r < 4; ++r) {
        v[4 * r] = subtract(a[r], c[r]);
        v[4 * r + 1] = add(b[r], c[r]);
        v[4 * r + 2] = subtract(c[r], b[r]);
        v[4 * r + 3] = subtract(b[r], d[r]);
        a[r] = c[r];
        b[r] = d[r];
      }
      target.put({span.index + i, channel, i + 1 < span.count}, v);
    }
  }
}

/// A dy A^T of the tiles of a span.
template <class Target>
inline void transform_gradients(const ConvolutionShape& shape, const uint16_t* dy, const Span& span,
                                Target& target) {
  const int64_t channels = shape.out, stride = shape.width * channels;
  const uint16_t* const row = dy + (span.sample * shape.height + 2 * span.row) * stride;
  const bool two_rows = 2 * span.row + 1 < shape.height;
  const __m512 zero = _mm512_setzero_ps();
  for (int64_t channel = 0; channel < channels; channel += kLanes) {
    for (int64_t i = 0; i < span.count; ++i) {
      const int64_t left = 2 * (span.column + i);
      const uint16_t* const pixel = row + left * channels + channel;
      __m512 t[4][2];
      for (int64_t column = 0; column < 2; ++column) {
        const bool inside = left + column < shape.width;
        const uint16_t* const at = pixel + column * channels;
        const __m512 top = load(at, inside ? kAllLanes : __mmask16{0});
        const __m512 low = load(at + stride, inside && two_rows ? kAllLanes : __mmask16{0});
        t[0][column] = top;
        t[1][column] = add(top, low);
        t[2][column] = subtract(top, low);
        t[3][column] = subtract(zero, low);
      }
      Components v;
      for (int64_t r = 0; r < 4; ++r) {
        v[4 * r] = t[r][0];
        v[4 * r + 1] = add(t[r][0], t[r][1]);
        v[4 * r + 2] = subtract(t[r][0], t[r][1]);
        v[4 * r + 3] = subtract(zero, t[r][1]);
      }
      target.put({span.index + i, channel, i + 1 < span.count}, v);
    }
  }
}

/// A^T m A of the tiles of a span and the summands. products [component][tile][channel].
inline void transform_products(const ConvolutionShape& shape, const float* products,
                               int64_t component_stride, const ConvolutionSummands& summands,
                               const Span& span, uint16_t* y) {
  const int64_t channels = shape.out, stride = shape.width * channels;
  const int64_t row = (span.sample * shape.height + 2 * span.row) * stride;
  const bool two_rows = 2 * span.row + 1 < shape.height;
  for (int64_t channel = 0; channel < channels; channel += kLanes) {
    __m512 constant = _mm512_setzero_ps();
    if (summands.bias != nullptr) constant = _mm512_loadu_ps(summands.bias + channel);
    if (summands.per_sample != nullptr) {
      constant =
          add(constant, _mm512_loadu_ps(summands.per_sample + span.sample * channels + channel));
    }
    for (int64_t i = 0; i < span.count; ++i) {
      const float* const m = products + (span.index + i) * channels + channel;
      const int64_t left = 2 * (span.column + i);
      __m512 s[2][4];
      for (int64_t c = 0; c < 4; ++c) {
        __m512 v[4];
        for (int64_t r = 0; r < 4; ++r) v[r] = _mm512_loadu_ps(m + (4 * r + c) * component_stride);
        s[0][c] = add(add(v[0], v[1]), v[2]);
        s[1][c] = subtract(subtract(v[1], v[2]), v[3]);
      }
      for (int64_t r = 0; r < (two_rows ? 2 : 1); ++r) {
        const int64_t at = row + r * stride + left * channels + channel;
        const auto write = [&](int64_t where, __m512 value) {
          value = add(value, constant);
          if (summands.residual != nullptr) {
            value = add(value, load(summands.residual + where, kAllLanes));
          }
          store(y + where, kAllLanes, value);
        };
        write(at, add(add(s[r][0], s[r][1]), s[r][2]));
        if (left + 1 < shape.width) {
          write(at + channels, subtract(subtract(s[r][1], s[r][2]), s[r][3]));
        }
      }
    }
  }
}

/// G g G^T of 16 kernels g [3][3].
inline void transform_kernel(const __m512 (&g)[9], __m512 (&u)[16]) {
  const __m512 half = _mm512_set1_ps(0.5F);
  __m512 t[4][3];
  for (int c = 0; c < 3; ++c) {
    const __m512 outer = _mm512_mul_ps(add(g[c], g[6 + c]), half);
    const __m512 inner = _mm512_mul_ps(g[3 + c], half);
    t[0][c] = g[c];
    t[1][c] = add(outer, inner);
    t[2][c] = subtract(outer, inner);
    t[3][c] = g[6 + c];
  }
  for (int r = 0; r < 4; ++r) {
    const __m512 outer = _mm512_mul_ps(add(t[r][0], t[r][2]), half);
    const __m512 inner = _mm512_mul_ps(t[r][1], half);
    u[4 * r] = t[r][0];
    u[4 * r + 1] = add(outer, inner);
    u[4 * r + 2] = subtract(outer, inner);
    u[4 * r + 3] = t[r][2];
  }
}

/// G^T u G: the transpose of transform_kernel().
inline void transform_kernel_gradient(const __m512 (&u)[16], __m512 (&g)[9]) {
  const __m512 half = _mm512_set1_ps(0.5F);
  __m512 t[3][4];
  for (int c = 0; c < 4; ++c) {
    const __m512 sum = _mm512_mul_ps(add(u[4 + c], u[8 + c]), half);
    t[0][c] = add(u[c], sum);
    t[1][c] = _mm512_mul_ps(subtract(u[4 + c], u[8 + c]), half);
    t[2][c] = add(sum, u[12 + c]);
  }
  for (int r = 0; r < 3; ++r) {
    const __m512 sum = _mm512_mul_ps(add(t[r][1], t[r][2]), half);
    g[3 * r] = add(t[r][0], sum);
    g[3 * r + 1] = _mm512_mul_ps(subtract(t[r][1], t[r][2]), half);
    g[3 * r + 2] = add(sum, t[r][3]);
  }
}

}  // namespace
}  // namespace mos::nn::kernels::avx512
