#pragma once

// The backward pass of attention_kernels.h for any matrix unit. Include it only after
// `#pragma GCC target`, for the reasons in avx512_math.h.
//
// With P = softmax(scale q k^T), recomputed from the saved sums:
//   dV = P^T dO,  dS = scale P (dO V^T - rowsum(dO O)),  dQ = dS K,  dK = dS^T Q.
// Scores are computed with keys down and queries across. So P^T and dS^T are left operands as they
// are, their pairs two neighbouring queries; and dS^T is the right operand of dQ^T = K^T dS^T, its
// pairs two neighbouring keys. Nothing is transposed between the products. Blocks of keys are
// outside, so dK and dV of a block stay in cache while all queries pass; dQ^T is summed in float32
// over the key blocks.

#include "mos/nn/kernels/attention_kernels.h"
#include "mos/nn/kernels/avx512_matrix.h"

namespace mos::nn::kernels::avx512 {
namespace {

struct Range {
  int64_t first, count;
};

inline float row_dot(const uint16_t* a, const uint16_t* b, int64_t width) {
  __m512 total = _mm512_setzero_ps();
  for (int64_t i = 0; i < width; i += kLanes) {
    const __mmask16 mask = lanes(width - i);
    total = _mm512_fmadd_ps(load(a + i, mask), load(b + i, mask), total);
  }
  return sum(total);
}

/// A = x^T for x [rows, columns] packed by pack_rows: out[column][pair], the pairs along the rows.
inline void turn_panels(const uint32_t* panels, int64_t columns, int64_t pairs, uint32_t* out) {
  for (int64_t column = 0; column < columns; column += kLanes, panels += pairs * kLanes) {
    for (int64_t pair = 0; pair < pairs; pair += kLanes) {
      const int64_t count = pairs - pair < kLanes ? pairs - pair : kLanes;
      __m512i block[16];
      for (int64_t i = 0; i < kLanes; ++i) {
        block[i] =
            i < count ? _mm512_loadu_si512(panels + (pair + i) * kLanes) : _mm512_setzero_si512();
      }
      transpose(block);
      for (int64_t i = 0; i < kLanes; ++i) {
        _mm512_mask_storeu_epi32(out + (column + i) * pairs + pair, lanes(count), block[i]);
      }
    }
  }
}

inline void write_gradient(const float* from, int64_t from_stride, int64_t rows, int64_t width,
                           const HeadOutput& to) {
  for (int64_t row = 0; row < rows; ++row) {
    for (int64_t i = 0; i < width; i += kLanes) {
      store(to.data + row * to.stride + i, lanes(width - i),
            _mm512_loadu_ps(from + row * from_stride + i));
    }
  }
}

/// The same from x^T [width, rows], whose rows are `from_stride` apart.
inline void write_turned(const float* from, int64_t from_stride, int64_t rows, int64_t width,
                         const HeadOutput& to) {
  for (int64_t row = 0; row < rows; row += kLanes) {
    for (int64_t i = 0; i < width; i += kLanes) {
      __m512i block[16];
      for (int64_t j = 0; j < kLanes; ++j) {
        block[j] = _mm512_loadu_si512(from + (i + j) * from_stride + row);
      }
      transpose(block);
      for (int64_t j = 0; j < kLanes && row + j < rows; ++j) {
        store(to.data + (row + j) * to.stride + i, lanes(width - i), _mm512_castsi512_ps(block[j]));
      }
    }
  }
}

/// `Unit` is that of ForwardPass.
template <class Unit>
class BackwardPass {
 public:
  static int64_t workspace(const HeadShape& shape) { return Parts(shape, nullptr).bytes; }

  static void backward(const HeadShape& shape, const HeadGradients& head, void* workspace) {
    [[maybe_unused]] const typename Unit::Scope scope;
    const Parts parts(shape, workspace);
    prepare(shape, head, parts);
    for (int64_t key = 0; key < shape.keys; key += kKeyBlock) {
      const Range keys{key, shape.keys - key < kKeyBlock ? shape.keys - key : kKeyBlock};
      bool is_first = true;
      // Under a causal mask the queries before the first key do not see the block at all.
      const int64_t first_query = shape.causal ? key / kQueryBlock * kQueryBlock : 0;
      for (int64_t query = first_query; query < shape.queries; query += kQueryBlock) {
        const int64_t left = shape.queries - query;
        add_block(shape, head, parts, {query, left < kQueryBlock ? left : kQueryBlock}, keys,
                  is_first);
        is_first = false;
      }
      if (is_first) {  // nobody sees these keys
        zero(parts.dk, kKeyBlock * parts.width);
        zero(parts.dv, kKeyBlock * parts.width);
      }
      const auto at = [key](const HeadOutput& to) {
        return HeadOutput{to.data + key * to.stride, to.stride};
      };
      write_gradient(parts.dk, parts.width, keys.count, shape.width, at(head.dk));
      write_gradient(parts.dv, parts.width, keys.count, shape.width, at(head.dv));
    }
    write_turned(parts.dq, parts.queries, shape.queries, shape.width, head.dq);
  }

 private:
  static constexpr int64_t kQueryBlock = 64;
  static constexpr int64_t kKeyBlock = 128;
  static constexpr float kLog2E = 1.44269504F;
  /// Queries and keys are rows, columns and halves of pairs: they come in multiples of this.
  static constexpr int64_t kStep =
      2 * Unit::kPairMultiple > kLanes ? 2 * Unit::kPairMultiple : kLanes;
  static_assert(kStep % Unit::kRowMultiple == 0 && kQueryBlock % kStep == 0 &&
                kKeyBlock % kStep == 0);

  struct Block {
    alignas(64) float scores[kKeyBlock * kQueryBlock];  // [key][query], as the next three
    alignas(64) float d_weights[kKeyBlock * kQueryBlock];
    alignas(64) uint16_t weights[kKeyBlock * kQueryBlock];
    alignas(64) uint16_t d_scores[kKeyBlock * kQueryBlock];
    alignas(64) uint32_t d_score_panels[kKeyBlock / 2 * kQueryBlock];  // [16 queries][key pair][]
  };

  /// The workspace, cut into its parts; sizes are padded so that blocks never need a special end.
  struct Parts {
    int64_t width, queries, keys;             // padded
    int64_t depth;                            // pairs along the width
    float* dq;                                // [width][queries]: turned
    float *dk, *dv;                           // [kKeyBlock][width]
    float* delta;                             // [queries]: rowsum(dO O)
    uint32_t *key_rows, *value_rows;          // left operands of k q^T and v dO^T
    uint32_t *queries_across, *d_out_across;  // their right ones
    uint32_t *queries_down, *d_out_down;      // right operands that are summed over queries
    uint32_t *keys_down, *keys_turned;        // k as a right operand, and as the left one of dQ^T
    Block* block;
    int64_t bytes;

    Parts(const HeadShape& shape, void* workspace)
        : width(round_up(shape.width, kLanes)),
          queries(round_up(shape.queries, kStep)),
          keys(round_up(shape.keys, kStep)),
          depth(round_up(shape.width / 2, Unit::kPairMultiple)) {
      char* at = static_cast<char*>(workspace);
      const auto take = [&at](auto*& part, int64_t count) {
        part = reinterpret_cast<std::remove_reference_t<decltype(part)>>(at);
        at += round_up(count * static_cast<int64_t>(sizeof(*part)), 64);
      };
      take(dq, width * queries);
      take(dk, kKeyBlock * width);
      take(dv, kKeyBlock * width);
      take(delta, queries);
      take(key_rows, keys * depth);
      take(value_rows, keys * depth);
      take(queries_across, queries * depth);
      take(d_out_across, queries * depth);
      take(queries_down, queries / 2 * width);
      take(d_out_down, queries / 2 * width);
      take(keys_down, keys / 2 * width);
      take(keys_turned, keys / 2 * width);
      take(block, 1);
      bytes = at - static_cast<char*>(workspace);
    }
  };

  static void zero(float* data, int64_t count) {
    std::memset(data, 0, static_cast<size_t>(count) * sizeof(float));
  }

  static void prepare(const HeadShape& shape, const HeadGradients& head, const Parts& parts) {
    const auto in = [](const HeadRows& rows) { return Rows{rows.data, rows.stride}; };
    copy_rows(in(head.k), shape.keys, shape.width, parts.keys, parts.depth, parts.key_rows);
    copy_rows(in(head.v), shape.keys, shape.width, parts.keys, parts.depth, parts.value_rows);
    pack_transposed(in(head.q), shape.queries, shape.width, parts.depth, parts.queries_across);
    pack_transposed(in(head.d_out), shape.queries, shape.width, parts.depth, parts.d_out_across);
    pack_rows(in(head.q), shape.queries, shape.width, parts.queries / 2, parts.queries_down);
    pack_rows(in(head.d_out), shape.queries, shape.width, parts.queries / 2, parts.d_out_down);
    pack_rows(in(head.k), shape.keys, shape.width, parts.keys / 2, parts.keys_down);
    turn_panels(parts.keys_down, parts.width, parts.keys / 2, parts.keys_turned);
    for (int64_t row = 0; row < shape.queries; ++row) {
      parts.delta[row] = row_dot(head.out.data + row * head.out.stride,
                                 head.d_out.data + row * head.d_out.stride, shape.width);
    }
    zero(parts.dq, parts.width * parts.queries);
  }

  /// Sixteen queries of a block, which all its keys meet.
  struct Column {
    __m512 factor, scale, log_sums, delta;
    __mmask16 present;

    Column(const HeadShape& shape, const HeadGradients& head, const Parts& parts, int64_t query)
        : factor(_mm512_set1_ps(shape.scale * kLog2E)),
          scale(_mm512_set1_ps(shape.scale)),
          present(query < shape.queries ? lanes(shape.queries - query) : __mmask16{0}) {
      log_sums = _mm512_maskz_loadu_ps(present, head.log_sums + query);
      delta = _mm512_maskz_loadu_ps(present, parts.delta + query);
    }

    /// Writes weights and score gradients of a key, of which queries in `mask` count, as bfloat16.
    void at(const float* scores, const float* d_weights, __mmask16 mask, __m256i* weight,
            __m256i* d_score) const {
      const __m512 exponent = _mm512_fmsub_ps(_mm512_loadu_ps(scores), factor, log_sums);
      const __m512 p = _mm512_maskz_mov_ps(mask, exp2_unclamped(exponent));
      const __m512 centered = _mm512_sub_ps(_mm512_loadu_ps(d_weights), delta);
      *weight = (__m256i)_mm512_cvtneps_pbh(p);
      *d_score =
          (__m256i)_mm512_cvtneps_pbh(_mm512_maskz_mul_ps(mask, _mm512_mul_ps(p, scale), centered));
    }
  };

  /// Which of the sixteen queries from `query` on see `key`.
  static __mmask16 seen_by(const HeadShape& shape, int64_t query, int64_t key) {
    if (key >= shape.keys) return 0;
    if (!shape.causal || key <= query) return 0xffff;
    const int64_t later = key - query;
    return later >= kLanes ? __mmask16{0} : static_cast<__mmask16>(0xffffU << later);
  }

  /// Weights and score gradients of a block in the layouts that the products read.
  static void differentiate_scores(const HeadShape& shape, const HeadGradients& head,
                                   const Parts& parts, const Range& queries, const Range& keys) {
    Block& block = *parts.block;
    for (int64_t i = 0; i < round_up(queries.count, kStep); i += kLanes) {
      const int64_t query = queries.first + i;
      const Column column(shape, head, parts, query);
      uint32_t* const panel = block.d_score_panels + i * (kKeyBlock / 2);
      for (int64_t row = 0; row < round_up(keys.count, kStep); row += 2) {
        __m256i weight[2], d_score[2];
        for (int64_t odd = 0; odd < 2; ++odd) {
          const int64_t at = (row + odd) * kQueryBlock + i;
          const __mmask16 mask = static_cast<__mmask16>(
              column.present & seen_by(shape, query, keys.first + row + odd));
          column.at(block.scores + at, block.d_weights + at, mask, &weight[odd], &d_score[odd]);
          _mm256_storeu_si256(reinterpret_cast<__m256i*>(block.weights + at), weight[odd]);
          _mm256_storeu_si256(reinterpret_cast<__m256i*>(block.d_scores + at), d_score[odd]);
        }
        _mm512_storeu_si512(panel + row / 2 * kLanes, interleave(d_score[0], d_score[1]));
      }
    }
  }

  static void add_block(const HeadShape& shape, const HeadGradients& head, const Parts& parts,
                        const Range& queries, const Range& keys, bool is_first) {
    Block& block = *parts.block;
    const int64_t key_rows = round_up(keys.count, kStep);
    const int64_t query_columns = round_up(queries.count, kStep);
    const auto across = [&](const uint32_t* rows, const uint32_t* columns, float* to) {
      Unit::multiply({rows + keys.first * parts.depth, parts.depth, 1},
                     {columns + queries.first * parts.depth, parts.depth * kLanes}, key_rows,
                     query_columns / kLanes, parts.depth, {to, kQueryBlock},
                     /*accumulate=*/false);
    };
    across(parts.key_rows, parts.queries_across, block.scores);
    across(parts.value_rows, parts.d_out_across, block.d_weights);
    differentiate_scores(shape, head, parts, queries, keys);

    const auto down = [&](const uint16_t* rows, const uint32_t* columns, float* to) {
      Unit::multiply({reinterpret_cast<const uint32_t*>(rows), kQueryBlock / 2, 1},
                     {columns + queries.first / 2 * kLanes, parts.queries / 2 * kLanes}, key_rows,
                     parts.width / kLanes, query_columns / 2, {to, parts.width}, !is_first);
    };
    down(block.weights, parts.d_out_down, parts.dv);
    down(block.d_scores, parts.queries_down, parts.dk);
    Unit::multiply({parts.keys_turned + keys.first / 2, parts.keys / 2, 1},
                   {block.d_score_panels, kKeyBlock / 2 * kLanes}, parts.width,
                   query_columns / kLanes, key_rows / 2, {parts.dq + queries.first, parts.queries},
                   /*accumulate=*/true);
  }
};

}  // namespace
}  // namespace mos::nn::kernels::avx512
