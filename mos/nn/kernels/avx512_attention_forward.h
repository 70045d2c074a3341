#pragma once

// The forward pass of attention_kernels.h for any matrix unit. Include it only after
// `#pragma GCC target`, for the reasons in avx512_math.h.
//
// Blocks of queries meet blocks of keys; a running maximum and sum per query (the online softmax of
// Milakov and Gimelshein 2018, used like FlashAttention does) replace the score matrix.

#include "mos/nn/kernels/attention_kernels.h"
#include "mos/nn/kernels/avx512_matrix.h"

namespace mos::nn::kernels::avx512 {
namespace {

constexpr int64_t kQueryBlock = 32;
constexpr int64_t kKeyBlock = 128;
constexpr float kLog2E = 1.44269504F;

/// One block of queries on its way through the keys. Everything fits the first two cache levels.
struct QueryBlock {
  alignas(64) uint32_t queries[kQueryBlock * kMaxHeadWidth / 2];
  alignas(64) float scores[kQueryBlock * kKeyBlock];
  alignas(64) uint16_t weights[kQueryBlock * kKeyBlock];
  alignas(64) float output[kQueryBlock * kMaxHeadWidth];
  float maximum[kQueryBlock];  // of the scores seen so far, times scale * log2(e)
  float total[kQueryBlock];    // of 2^(score - maximum)
};

/// Turns one row of raw scores, of which the first `visible` count, into bfloat16 weights
/// 2^(score - maximum), zero up to `padded`, and returns the factor for what was summed before.
inline float soften_row(const float* scores, int64_t visible, int64_t padded, float factor,
                        float* maximum, float* total, uint16_t* weights) {
  __m512 top = _mm512_set1_ps(-3e38F);
  for (int64_t i = 0; i < visible; i += kLanes) {
    const __mmask16 mask = lanes(visible - i);
    top = _mm512_mask_max_ps(top, mask, top, _mm512_loadu_ps(scores + i));
  }
  const float row_maximum = _mm512_reduce_max_ps(top) * factor;
  const float before = *maximum;
  *maximum = before > row_maximum ? before : row_maximum;
  const __m512 center = _mm512_set1_ps(*maximum);
  const __m512 scale = _mm512_set1_ps(factor);
  __m512 sums = _mm512_setzero_ps();
  for (int64_t i = 0; i < padded; i += kLanes) {
    const __mmask16 mask = visible > i ? lanes(visible - i) : __mmask16{0};
    const __m512 exponent = _mm512_fmsub_ps(_mm512_loadu_ps(scores + i), scale, center);
    const __m512 weight = _mm512_maskz_mov_ps(mask, exp2_unclamped(exponent));
    sums = _mm512_add_ps(sums, weight);
    store(weights + i, __mmask16{0xffff}, weight);
  }
  const float correction = before == *maximum ? 1.0F : __builtin_exp2f(before - *maximum);
  *total = *total * correction + sum(sums);
  return correction;
}

inline void scale_row(float* row, int64_t width, float factor) {
  const __m512 f = _mm512_set1_ps(factor);
  for (int64_t i = 0; i < width; i += kLanes) {
    _mm512_storeu_ps(row + i, _mm512_mul_ps(_mm512_loadu_ps(row + i), f));
  }
}

/// The softmax step between the two products for the keys first_key..first_key+keys-1.
inline void soften(const HeadShape& shape, int64_t first_query, int64_t rows, int64_t first_key,
                   int64_t keys, int64_t padded, QueryBlock& block) {
  const int64_t output_width = round_up(shape.width, kLanes);
  for (int64_t row = 0; row < rows; ++row) {
    int64_t visible = keys;
    if (shape.causal) {
      const int64_t seen = first_query + row + 1 - first_key;
      visible = seen < 0 ? 0 : (seen < keys ? seen : keys);
    }
    const float correction =
        soften_row(block.scores + row * kKeyBlock, visible, padded, shape.scale * kLog2E,
                   block.maximum + row, block.total + row, block.weights + row * kKeyBlock);
    if (first_key > 0 && correction != 1.0F) {
      scale_row(block.output + row * output_width, output_width, correction);
    }
  }
}

inline void write_rows(const QueryBlock& block, int64_t rows, int64_t width, int64_t output_width,
                       uint16_t* out, int64_t stride, float* log_sums) {
  for (int64_t row = 0; row < rows; ++row) {
    const __m512 inverse = _mm512_set1_ps(1.0F / block.total[row]);
    for (int64_t i = 0; i < width; i += kLanes) {
      const __m512 value = _mm512_loadu_ps(block.output + row * output_width + i);
      store(out + row * stride + i, lanes(width - i), _mm512_mul_ps(value, inverse));
    }
    if (log_sums != nullptr) log_sums[row] = block.maximum[row] + __builtin_log2f(block.total[row]);
  }
}

/// `Unit` has kRowMultiple, kPairMultiple and multiply() with the meaning of avx512_matrix.h, and a
/// Scope that is alive while multiply() is called.
template <class Unit>
struct ForwardPass {
  /// Keys are columns of the first product, a vector wide, and pairs of the second.
  static int64_t pad_keys(int64_t keys) {
    return round_up(keys, Unit::kPairMultiple * 2 > kLanes ? Unit::kPairMultiple * 2 : kLanes);
  }

  static PackedSize packed_size(const HeadShape& shape) {
    const int64_t depth = round_up(shape.width / 2, Unit::kPairMultiple);
    const int64_t keys = pad_keys(shape.keys);
    return {depth, keys * depth, round_up(shape.width, kLanes) * keys / 2};
  }

  static void pack(const HeadShape& shape, const HeadRows& k, const HeadRows& v,
                   uint32_t* packed_keys, uint32_t* packed_values) {
    const PackedSize size = packed_size(shape);
    // A tile may read a panel of keys past the last one: it must hold numbers.
    const int64_t last_panel = round_up(shape.keys, kLanes) * size.depth_pairs;
    std::memset(packed_keys + last_panel, 0,
                static_cast<size_t>(size.keys - last_panel) * sizeof(uint32_t));
    pack_transposed({k.data, k.stride}, shape.keys, shape.width, size.depth_pairs, packed_keys);
    pack_rows({v.data, v.stride}, shape.keys, shape.width, pad_keys(shape.keys) / 2, packed_values);
  }

  static void forward(const HeadShape& shape, const HeadRows& q, const uint32_t* packed_keys,
                      const uint32_t* packed_values, int64_t first, int64_t last,
                      const HeadOutput& out, float* log_sums) {
    [[maybe_unused]] const typename Unit::Scope scope;
    QueryBlock block;
    for (int64_t query = first; query < last; query += kQueryBlock) {
      const int64_t rows = last - query < kQueryBlock ? last - query : kQueryBlock;
      run_block(shape, {q.data + query * q.stride, q.stride}, packed_keys, packed_values, query,
                rows, block);
      write_rows(block, rows, shape.width, round_up(shape.width, kLanes),
                 out.data + query * out.stride, out.stride,
                 log_sums == nullptr ? nullptr : log_sums + query);
    }
  }

 private:
  static void run_block(const HeadShape& shape, const Rows& q, const uint32_t* packed_keys,
                        const uint32_t* packed_values, int64_t first_query, int64_t rows,
                        QueryBlock& block) {
    const int64_t depth = packed_size(shape).depth_pairs;
    const int64_t padded_rows = round_up(rows, Unit::kRowMultiple);
    const int64_t output_width = round_up(shape.width, kLanes);
    const int64_t value_stride = pad_keys(shape.keys) / 2 * kLanes;
    copy_rows(q, rows, shape.width, padded_rows, depth, block.queries);
    for (int64_t row = 0; row < kQueryBlock; ++row) {
      block.maximum[row] = -3e38F;
      block.total[row] = 0;
    }
    const int64_t last_key =
        shape.causal && first_query + rows < shape.keys ? first_query + rows : shape.keys;
    for (int64_t key = 0; key < last_key; key += kKeyBlock) {
      const int64_t keys = last_key - key < kKeyBlock ? last_key - key : kKeyBlock;
      const int64_t padded = pad_keys(keys);
      Unit::multiply({block.queries, depth, 1}, {packed_keys + key * depth, depth * kLanes},
                     padded_rows, padded / kLanes, depth, {block.scores, kKeyBlock},
                     /*accumulate=*/false);
      soften(shape, first_query, rows, key, keys, padded, block);
      const auto* weights = reinterpret_cast<const uint32_t*>(block.weights);
      Unit::multiply({weights, kKeyBlock / 2, 1}, {packed_values + key / 2 * kLanes, value_stride},
                     padded_rows, output_width / kLanes, padded / 2, {block.output, output_width},
                     /*accumulate=*/key > 0);
    }
  }
};

}  // namespace
}  // namespace mos::nn::kernels::avx512
