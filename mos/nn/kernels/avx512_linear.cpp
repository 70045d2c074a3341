#include "mos/nn/kernels/avx512_linear.h"

#if defined(__x86_64__)

#pragma GCC target("avx512f,avx512bw,avx512vl,avx512dq,avx512bf16")

#include "mos/nn/kernels/avx512_matrix.h"

namespace mos::nn::kernels::avx512 {
namespace {

constexpr __mmask16 kAllLanes = 0xffff;
constexpr int64_t kRows = 6;    // of a block of sums in registers: 6 x 4 vectors,
constexpr int64_t kPanels = 4;  // with 4 more for the right operand

/// Rows of x, the panels of the weights from `panel` on, and where their results go.
struct Block {
  const uint16_t* x;
  const uint32_t* packed;
  const float* bias;
  const uint16_t* residual;
  uint16_t* y;
};

template <int kBlockRows, int kBlockPanels>
inline void block(const LinearShape& shape, const Block& at) {
  const int64_t pairs = shape.in / 2, panel_stride = pairs * kLanes;
  __m512 sum[kBlockRows][kBlockPanels];
  for (int panel = 0; panel < kBlockPanels; ++panel) {
    const __m512 start =
        at.bias == nullptr ? _mm512_setzero_ps() : _mm512_loadu_ps(at.bias + panel * kLanes);
    for (int row = 0; row < kBlockRows; ++row) sum[row][panel] = start;
  }
  for (int64_t pair = 0; pair < pairs; ++pair) {
    __m512i right[kBlockPanels];
    for (int panel = 0; panel < kBlockPanels; ++panel) {
      right[panel] = _mm512_loadu_si512(at.packed + panel * panel_stride + pair * kLanes);
    }
    for (int row = 0; row < kBlockRows; ++row) {
      int two;
      std::memcpy(&two, at.x + row * shape.in + 2 * pair, sizeof(two));
      const __m512i left = _mm512_set1_epi32(two);
      for (int panel = 0; panel < kBlockPanels; ++panel) {
        sum[row][panel] = dot(sum[row][panel], left, right[panel]);
      }
    }
  }
  for (int row = 0; row < kBlockRows; ++row) {
    for (int panel = 0; panel < kBlockPanels; ++panel) {
      const int64_t place = row * shape.out + panel * kLanes;
      __m512 value = sum[row][panel];
      if (at.residual != nullptr) {
        value = _mm512_add_ps(value, load(at.residual + place, kAllLanes));
      }
      store(at.y + place, kAllLanes, value);
    }
  }
}

template <int kBlockPanels>
void column(const LinearShape& shape, const Block& first, int64_t rows) {
  Block at = first;
  const auto advance = [&](int64_t count) {
    at.x += count * shape.in;
    at.y += count * shape.out;
    if (at.residual != nullptr) at.residual += count * shape.out;
  };
  for (; rows >= kRows; rows -= kRows, advance(kRows)) block<kRows, kBlockPanels>(shape, at);
  for (; rows >= 2; rows -= 2, advance(2)) block<2, kBlockPanels>(shape, at);
  if (rows == 1) block<1, kBlockPanels>(shape, at);
}

/// Two rows of 32 values as pairs.
inline void store_pairs(__m512i even, __m512i odd, uint32_t* first, uint32_t* second) {
  const __m512i low = _mm512_set_epi16(47, 15, 46, 14, 45, 13, 44, 12, 43, 11, 42, 10, 41, 9, 40, 8,
                                       39, 7, 38, 6, 37, 5, 36, 4, 35, 3, 34, 2, 33, 1, 32, 0);
  const __m512i high = _mm512_add_epi16(low, _mm512_set1_epi16(16));
  _mm512_storeu_si512(first, _mm512_permutex2var_epi16(even, low, odd));
  _mm512_storeu_si512(second, _mm512_permutex2var_epi16(even, high, odd));
}

/// x [rows,width] as pairs of neighbouring rows, zero behind the last one: the 16 pairs of a
/// block of columns start at block * block_stride + pair * pair_stride.
void pair_rows(const uint16_t* x, int64_t rows, int64_t width, int64_t block_stride,
               int64_t pair_stride, uint32_t* out) {
  for (int64_t pair = 0; 2 * pair < rows; ++pair) {
    const uint16_t* const even = x + 2 * pair * width;
    const uint16_t* const odd = even + width;
    const bool complete = 2 * pair + 1 < rows;
    uint32_t* const to = out + pair * pair_stride;
    for (int64_t column = 0; column < width; column += 2 * kLanes) {
      const __mmask32 mask = width - column >= 2 * kLanes ? 0xffffffffU : 0xffffU;
      const int64_t at = column / kLanes * block_stride;
      const __m512i low = _mm512_maskz_loadu_epi16(mask, even + column);
      const __m512i high = _mm512_maskz_loadu_epi16(complete ? mask : 0U, odd + column);
      uint32_t behind[kLanes];
      store_pairs(low, high, to + at, mask == 0xffffU ? behind : to + at + block_stride);
    }
  }
}

void add_column_sums(const uint16_t* x, int64_t rows, int64_t width, float* sums) {
  for (int64_t column = 0; column < width; column += kLanes) {
    __m512 total = _mm512_loadu_ps(sums + column);
    for (int64_t row = 0; row < rows; ++row) {
      total = _mm512_add_ps(total, load(x + row * width + column, kAllLanes));
    }
    _mm512_storeu_ps(sums + column, total);
  }
}

}  // namespace

void pack_linear(const LinearShape& shape, const uint16_t* weight, uint32_t* packed) {
  pack_transposed({weight, shape.in}, shape.out, shape.in, shape.in / 2, packed);
}

void pack_linear_reversed(const LinearShape& shape, const uint16_t* weight, uint32_t* packed) {
  const int64_t pairs = shape.out / 2;
  pair_rows(weight, shape.out, shape.in, pairs * kLanes, kLanes, packed);
}

void linear_rows(const LinearShape& shape, const uint16_t* x, const uint32_t* packed,
                 const LinearSummands& summands, int64_t rows, uint16_t* y) {
  const int64_t panels = shape.out / kLanes;
  for (int64_t row = 0; row < rows; row += kLinearBlock) {
    const int64_t count = rows - row < kLinearBlock ? rows - row : kLinearBlock;
    const auto at = [&](int64_t panel) {
      const int64_t place = row * shape.out + panel * kLanes;
      return Block{x + row * shape.in, packed + panel * shape.in / 2 * kLanes,
                   summands.bias == nullptr ? nullptr : summands.bias + panel * kLanes,
                   summands.residual == nullptr ? nullptr : summands.residual + place, y + place};
    };
    int64_t panel = 0;
    for (; panel + kPanels <= panels; panel += kPanels) column<kPanels>(shape, at(panel), count);
    for (; panel < panels; ++panel) column<1>(shape, at(panel), count);
  }
}

int64_t linear_gradient_workspace(const LinearShape& shape) {
  return kLinearBlock / 2 * (shape.in + shape.out);
}

void linear_gradient(const LinearShape& shape, const uint16_t* x, const uint16_t* dy, int64_t rows,
                     float* weight_gradient, float* bias_gradient, uint32_t* workspace) {
  uint32_t* const left = workspace;
  uint32_t* const right = workspace + kLinearBlock / 2 * shape.out;
  for (int64_t row = 0; row < rows; row += kLinearBlock) {
    const int64_t count = rows - row < kLinearBlock ? rows - row : kLinearBlock;
    const int64_t pairs = (count + 1) / 2;
    const uint16_t* const gradient = dy + row * shape.out;
    pair_rows(gradient, count, shape.out, kLanes, shape.out, left);
    pair_rows(x + row * shape.in, count, shape.in, pairs * kLanes, kLanes, right);
    multiply({left, 1, shape.out}, {right, pairs * kLanes}, shape.out, shape.in / kLanes, pairs,
             {weight_gradient, shape.in}, /*accumulate=*/true);
    if (bias_gradient != nullptr) add_column_sums(gradient, count, shape.out, bias_gradient);
  }
}

void round_values(const float* from, int64_t count, uint16_t* to) {
  for (int64_t i = 0; i < count; i += kLanes) {
    const __mmask16 mask = lanes(count - i);
    store(to + i, mask, load(from + i, mask));
  }
}

}  // namespace mos::nn::kernels::avx512

#endif  // __x86_64__
