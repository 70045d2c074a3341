#pragma once

// Small bfloat16 matrix products with float32 sums. Include it only after `#pragma GCC target`, for
// the reasons in avx512_math.h.
//
// A pair is two bfloat16 that are neighbours along the summed dimension, held in 32 bits: the unit
// of vdpbf16ps and of the AMX tiles. The right operand B [depth, columns] is packed in panels of 16
// columns, panel[depth/2][16] of pairs; depth and columns are padded with zeros.

#include <cstring>

#include "mos/nn/kernels/avx512_math.h"

namespace mos::nn::kernels::avx512 {
namespace {

/// The pairs of A: element (row, pair) is at data[row * row_stride + pair * pair_stride].
struct PairsA {
  const uint32_t* data;
  int64_t row_stride;
  int64_t pair_stride;
};

/// Panels of B; panel p starts at data + p * panel_stride.
struct PanelsB {
  const uint32_t* data;
  int64_t panel_stride;
};

/// Row-major float32 C.
struct MatrixC {
  float* data;
  int64_t stride;
};

/// sum + products of the pairs of a and b.
inline __m512 dot(__m512 sum, __m512i a, __m512i b) {
  return _mm512_dpbf16_ps(sum, (__m512bh)a, (__m512bh)b);
}

/// C[kRows, 16 kPanels] (+)= A B over `pairs` pairs, all of C in registers.
template <int kRows, int kPanels>
inline void multiply_block(const PairsA& a, const PanelsB& b, int64_t pairs, const MatrixC& c,
                           bool accumulate) {
  __m512 sum[kRows][kPanels];
  for (int row = 0; row < kRows; ++row) {
    for (int panel = 0; panel < kPanels; ++panel) {
      sum[row][panel] = accumulate ? _mm512_loadu_ps(c.data + row * c.stride + panel * kLanes)
                                   : _mm512_setzero_ps();
    }
  }
  for (int64_t pair = 0; pair < pairs; ++pair) {
    __m512i right[kPanels];
    for (int panel = 0; panel < kPanels; ++panel) {
      right[panel] = _mm512_loadu_si512(b.data + panel * b.panel_stride + pair * kLanes);
    }
    for (int row = 0; row < kRows; ++row) {
      const __m512i left =
          _mm512_set1_epi32(static_cast<int>(a.data[row * a.row_stride + pair * a.pair_stride]));
      for (int panel = 0; panel < kPanels; ++panel) {
        sum[row][panel] = dot(sum[row][panel], left, right[panel]);
      }
    }
  }
  for (int row = 0; row < kRows; ++row) {
    for (int panel = 0; panel < kPanels; ++panel) {
      _mm512_storeu_ps(c.data + row * c.stride + panel * kLanes, sum[row][panel]);
    }
  }
}

/// Rows come in multiples of this.
constexpr int64_t kRowMultiple = 8;

/// C[rows, 16 panels] (+)= A B; rows is a multiple of kRowMultiple. 16 sums are in flight at a
/// time, which hides the latency of vdpbf16ps and leaves registers for the operands.
inline void multiply(PairsA a, const PanelsB& b, int64_t rows, int64_t panels, int64_t pairs,
                     MatrixC c, bool accumulate) {
  for (int64_t row = 0; row < rows; row += kRowMultiple) {
    int64_t panel = 0;
    const auto at = [&](int64_t r) {
      return PairsA{a.data + r * a.row_stride, a.row_stride, a.pair_stride};
    };
    const auto out = [&](int64_t r) {
      return MatrixC{c.data + r * c.stride + panel * kLanes, c.stride};
    };
    const auto right = [&] { return PanelsB{b.data + panel * b.panel_stride, b.panel_stride}; };
    for (; panels - panel >= 3; panel += panels - panel >= 4 ? 4 : 3) {
      for (int64_t half = row; half < row + kRowMultiple; half += kRowMultiple / 2) {
        if (panels - panel >= 4) {
          multiply_block<4, 4>(at(half), right(), pairs, out(half), accumulate);
        } else {
          multiply_block<4, 3>(at(half), right(), pairs, out(half), accumulate);
        }
      }
    }
    if (panels - panel == 2) multiply_block<8, 2>(at(row), right(), pairs, out(row), accumulate);
    if (panels - panel == 1) multiply_block<8, 1>(at(row), right(), pairs, out(row), accumulate);
  }
}

/// In-register transpose of a 16x16 matrix of pairs.
inline void transpose(__m512i (&rows)[16]) {
  __m512i u[16];
  for (int i = 0; i < 16; i += 4) {  // u[i+j], 128-bit lane l: column 4l+j of rows i..i+3
    const __m512i a = _mm512_unpacklo_epi32(rows[i], rows[i + 1]);
    const __m512i b = _mm512_unpackhi_epi32(rows[i], rows[i + 1]);
    const __m512i c = _mm512_unpacklo_epi32(rows[i + 2], rows[i + 3]);
    const __m512i d = _mm512_unpackhi_epi32(rows[i + 2], rows[i + 3]);
    u[i] = _mm512_unpacklo_epi64(a, c);
    u[i + 1] = _mm512_unpackhi_epi64(a, c);
    u[i + 2] = _mm512_unpacklo_epi64(b, d);
    u[i + 3] = _mm512_unpackhi_epi64(b, d);
  }
  for (int j = 0; j < 4; ++j) {  // gather the lanes of one column: even lanes, then odd ones
    const __m512i even_top = _mm512_shuffle_i32x4(u[j], u[j + 4], 0x88);
    const __m512i even_low = _mm512_shuffle_i32x4(u[j + 8], u[j + 12], 0x88);
    const __m512i odd_top = _mm512_shuffle_i32x4(u[j], u[j + 4], 0xdd);
    const __m512i odd_low = _mm512_shuffle_i32x4(u[j + 8], u[j + 12], 0xdd);
    rows[j] = _mm512_shuffle_i32x4(even_top, even_low, 0x88);
    rows[j + 8] = _mm512_shuffle_i32x4(even_top, even_low, 0xdd);
    rows[j + 4] = _mm512_shuffle_i32x4(odd_top, odd_low, 0x88);
    rows[j + 12] = _mm512_shuffle_i32x4(odd_top, odd_low, 0xdd);
  }
}

/// Row-major bfloat16 input: row r starts at data + r * stride.
struct Rows {
  const uint16_t* data;
  int64_t stride;
};

/// Packs B = x^T for x [rows, depth]: panel p has the rows 16p..16p+15 of x as its columns.
/// out: rows/16 (rounded up) panels of depth_pairs >= depth/2 rows of 16 pairs; depth is even.
inline void pack_transposed(const Rows& x, int64_t rows, int64_t depth, int64_t depth_pairs,
                            uint32_t* out) {
  for (int64_t row = 0; row < rows; row += kLanes, out += depth_pairs * kLanes) {
    for (int64_t pair = 0; pair < depth_pairs; pair += kLanes) {
      const int64_t left = depth / 2 - pair;
      const __mmask16 mask = left > 0 ? lanes(left) : __mmask16{0};
      __m512i block[16];
      for (int64_t i = 0; i < kLanes; ++i) {
        const __mmask16 present = row + i < rows ? mask : __mmask16{0};
        block[i] = _mm512_maskz_loadu_epi32(present, x.data + (row + i) * x.stride + 2 * pair);
      }
      transpose(block);
      const int64_t count = depth_pairs - pair < kLanes ? depth_pairs - pair : kLanes;
      for (int64_t i = 0; i < count; ++i) {
        _mm512_storeu_si512(out + (pair + i) * kLanes, block[i]);
      }
    }
  }
}

/// Two rows of bfloat16 values as pairs: low half from `even`, high half from `odd`.
inline __m512i interleave(__m256i even, __m256i odd) {
  const __m512i high = _mm512_slli_epi32(_mm512_cvtepu16_epi32(odd), 16);
  return _mm512_or_si512(_mm512_cvtepu16_epi32(even), high);
}

/// Packs B = x for x [rows, columns]: columns/16 (rounded up) panels of depth_pairs >= rows/2 rows
/// of 16 pairs.
inline void pack_rows(const Rows& x, int64_t rows, int64_t columns, int64_t depth_pairs,
                      uint32_t* out) {
  for (int64_t column = 0; column < columns; column += kLanes, out += depth_pairs * kLanes) {
    const __mmask16 mask = lanes(columns - column);
    for (int64_t pair = 0; pair < depth_pairs; ++pair) {
      const int64_t row = 2 * pair;
      const uint16_t* at = x.data + row * x.stride + column;
      const __m256i even = row < rows ? _mm256_maskz_loadu_epi16(mask, at) : _mm256_setzero_si256();
      const __m256i odd =
          row + 1 < rows ? _mm256_maskz_loadu_epi16(mask, at + x.stride) : _mm256_setzero_si256();
      _mm512_storeu_si512(out + pair * kLanes, interleave(even, odd));
    }
  }
}

/// Copies x [rows, depth] to out [padded_rows][depth_pairs] of pairs, padded with zeros.
inline void copy_rows(const Rows& x, int64_t rows, int64_t depth, int64_t padded_rows,
                      int64_t depth_pairs, uint32_t* out) {
  for (int64_t row = 0; row < padded_rows; ++row, out += depth_pairs) {
    for (int64_t pair = 0; pair < depth_pairs; pair += kLanes) {
      const int64_t left = depth / 2 - pair;
      const __mmask16 mask = row < rows && left > 0 ? lanes(left) : __mmask16{0};
      const __m512i pairs = _mm512_maskz_loadu_epi32(mask, x.data + row * x.stride + 2 * pair);
      _mm512_mask_storeu_epi32(out + pair, lanes(depth_pairs - pair), pairs);
    }
  }
}

inline int64_t round_up(int64_t value, int64_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

}  // namespace
}  // namespace mos::nn::kernels::avx512
