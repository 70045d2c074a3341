#include <type_traits>

#include "mos/nn/kernels/attention_kernels.h"

#if defined(__x86_64__)

#pragma GCC target("avx512f,avx512bw,avx512vl,avx512dq,avx512bf16")

#include "mos/nn/kernels/avx512_matrix.h"

// With P = softmax(scale q k^T), recomputed from the saved sums:
//   dV = P^T dO,  dS = scale P (dO V^T - rowsum(dO O)),  dQ = dS K,  dK = dS^T Q.
// Blocks of keys are outside, so dK and dV of a block stay in cache while all queries pass; dQ is
// summed in float32 over the key blocks. vdpbf16ps reads its left operand pair by pair from any
// stride, so P^T and dS^T need no transposition: their pairs are two neighbouring queries.

namespace mos::nn::kernels {
namespace avx512 {
namespace {

constexpr int64_t kQueryBlock = 32;
constexpr int64_t kKeyBlock = 128;
constexpr float kLog2E = 1.44269504F;

struct Block {
  alignas(64) uint32_t queries[kQueryBlock * kMaxHeadWidth / 2];
  alignas(64) uint32_t d_out[kQueryBlock * kMaxHeadWidth / 2];
  alignas(64) float scores[kQueryBlock * kKeyBlock];
  alignas(64) float d_weights[kQueryBlock * kKeyBlock];
  alignas(64) uint16_t d_scores[kQueryBlock * kKeyBlock];           // [query][key]
  alignas(64) uint32_t weight_pairs[kQueryBlock / 2 * kKeyBlock];   // [query pair][key]
  alignas(64) uint32_t d_score_pairs[kQueryBlock / 2 * kKeyBlock];  // [query pair][key]
};

/// The workspace, cut into its parts; sizes are padded so that blocks never need a special end.
struct Parts {
  int64_t width, queries, keys;                     // padded
  int64_t pairs;                                    // along the width
  float* dq;                                        // [queries][width]
  float *dk, *dv;                                   // [kKeyBlock][width]
  float* delta;                                     // [queries]: rowsum(dO O)
  uint32_t *keys_across, *values_across;            // right operands of q k^T and dO v^T
  uint32_t *keys_down, *queries_down, *d_out_down;  // right operands summed over keys or queries
  Block* block;
  int64_t bytes;

  Parts(const HeadShape& shape, void* workspace)
      : width(round_up(shape.width, kLanes)),
        queries(round_up(shape.queries, kRowMultiple)),
        keys(round_up(shape.keys, kLanes)),
        pairs(shape.width / 2) {
    char* at = static_cast<char*>(workspace);
    const auto take = [&at](auto*& part, int64_t count) {
      part = reinterpret_cast<std::remove_reference_t<decltype(part)>>(at);
      at += round_up(count * static_cast<int64_t>(sizeof(*part)), 64);
    };
    take(dq, queries * width);
    take(dk, kKeyBlock * width);
    take(dv, kKeyBlock * width);
    take(delta, queries);
    take(keys_across, keys * pairs);
    take(values_across, keys * pairs);
    take(keys_down, keys / 2 * width);
    take(queries_down, queries / 2 * width);
    take(d_out_down, queries / 2 * width);
    take(block, 1);
    bytes = at - static_cast<char*>(workspace);
  }
};

inline float row_dot(const uint16_t* a, const uint16_t* b, int64_t width) {
  __m512 total = _mm512_setzero_ps();
  for (int64_t i = 0; i < width; i += kLanes) {
    const __mmask16 mask = lanes(width - i);
    total = _mm512_fmadd_ps(load(a + i, mask), load(b + i, mask), total);
  }
  return sum(total);
}

void prepare(const HeadShape& shape, const HeadGradients& head, const Parts& parts) {
  pack_transposed({head.k.data, head.k.stride}, shape.keys, shape.width, parts.pairs,
                  parts.keys_across);
  pack_transposed({head.v.data, head.v.stride}, shape.keys, shape.width, parts.pairs,
                  parts.values_across);
  pack_rows({head.k.data, head.k.stride}, shape.keys, shape.width, parts.keys / 2, parts.keys_down);
  pack_rows({head.q.data, head.q.stride}, shape.queries, shape.width, parts.queries / 2,
            parts.queries_down);
  pack_rows({head.d_out.data, head.d_out.stride}, shape.queries, shape.width, parts.queries / 2,
            parts.d_out_down);
  for (int64_t row = 0; row < shape.queries; ++row) {
    parts.delta[row] = row_dot(head.out.data + row * head.out.stride,
                               head.d_out.data + row * head.d_out.stride, shape.width);
  }
}

/// One row's probabilities and score gradients, of which the first `visible` keys count.
struct RowGradient {
  __m512 factor, log_sum, scale, delta;
  const float *scores, *d_weights;
  int64_t visible;

  /// Writes the weights and score gradients of keys i..i+15 as bfloat16.
  void at(int64_t i, __m256i* weight, __m256i* d_score) const {
    const __mmask16 mask = visible > i ? lanes(visible - i) : __mmask16{0};
    const __m512 exponent = _mm512_fmsub_ps(_mm512_loadu_ps(scores + i), factor, log_sum);
    const __m512 p = _mm512_maskz_mov_ps(mask, exp2_unclamped(exponent));
    const __m512 centered = _mm512_sub_ps(_mm512_loadu_ps(d_weights + i), delta);
    *weight = (__m256i)_mm512_cvtneps_pbh(p);
    *d_score = (__m256i)_mm512_cvtneps_pbh(_mm512_mul_ps(_mm512_mul_ps(p, scale), centered));
  }
};

struct Range {
  int64_t first, count;
};

/// Weights and score gradients of a block in the two layouts that the products read.
void differentiate_scores(const HeadShape& shape, const HeadGradients& head, const Parts& parts,
                          const Range& queries, const Range& keys) {
  Block& block = *parts.block;
  const auto row_at = [&](int64_t row) {
    const int64_t query = queries.first + row;
    const bool present = row < queries.count;
    int64_t visible = present ? keys.count : 0;
    if (present && shape.causal) {
      const int64_t seen = query + 1 - keys.first;
      visible = seen < 0 ? 0 : (seen < keys.count ? seen : keys.count);
    }
    return RowGradient{_mm512_set1_ps(shape.scale * kLog2E),
                       _mm512_set1_ps(present ? head.log_sums[query] : 0.0F),
                       _mm512_set1_ps(shape.scale),
                       _mm512_set1_ps(present ? parts.delta[query] : 0.0F),
                       block.scores + row * kKeyBlock,
                       block.d_weights + row * kKeyBlock,
                       visible};
  };
  const int64_t padded_keys = round_up(keys.count, kLanes);
  for (int64_t row = 0; row < round_up(queries.count, kRowMultiple); row += 2) {
    const RowGradient even = row_at(row);
    const RowGradient odd = row_at(row + 1);
    for (int64_t i = 0; i < padded_keys; i += kLanes) {
      __m256i weight[2], d_score[2];
      even.at(i, &weight[0], &d_score[0]);
      odd.at(i, &weight[1], &d_score[1]);
      const int64_t pair = row / 2 * kKeyBlock + i;
      _mm512_storeu_si512(block.weight_pairs + pair, interleave(weight[0], weight[1]));
      _mm512_storeu_si512(block.d_score_pairs + pair, interleave(d_score[0], d_score[1]));
      uint16_t* const rows = block.d_scores + row * kKeyBlock + i;
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(rows), d_score[0]);
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(rows + kKeyBlock), d_score[1]);
    }
  }
}

void accumulate_block(const HeadShape& shape, const HeadGradients& head, const Parts& parts,
                      const Range& queries, const Range& keys, bool first_block) {
  Block& block = *parts.block;
  const int64_t panels = parts.width / kLanes;
  const int64_t key_panels = round_up(keys.count, kLanes) / kLanes;
  const int64_t rows = round_up(queries.count, kRowMultiple);
  copy_rows({head.q.data + queries.first * head.q.stride, head.q.stride}, queries.count,
            shape.width, rows, parts.pairs, block.queries);
  copy_rows({head.d_out.data + queries.first * head.d_out.stride, head.d_out.stride}, queries.count,
            shape.width, rows, parts.pairs, block.d_out);
  const auto across = [&](const uint32_t* packed) {
    return PanelsB{packed + keys.first * parts.pairs, parts.pairs * kLanes};
  };
  multiply({block.queries, parts.pairs, 1}, across(parts.keys_across), rows, key_panels,
           parts.pairs, {block.scores, kKeyBlock}, false);
  multiply({block.d_out, parts.pairs, 1}, across(parts.values_across), rows, key_panels,
           parts.pairs, {block.d_weights, kKeyBlock}, false);
  differentiate_scores(shape, head, parts, queries, keys);

  const auto down = [&](const uint32_t* packed, int64_t first, int64_t depth) {
    return PanelsB{packed + first / 2 * kLanes, depth / 2 * kLanes};
  };
  multiply({block.weight_pairs, 1, kKeyBlock}, down(parts.d_out_down, queries.first, parts.queries),
           key_panels * kLanes, panels, rows / 2, {parts.dv, parts.width}, !first_block);
  multiply({block.d_score_pairs, 1, kKeyBlock},
           down(parts.queries_down, queries.first, parts.queries), key_panels * kLanes, panels,
           rows / 2, {parts.dk, parts.width}, !first_block);
  multiply({reinterpret_cast<const uint32_t*>(block.d_scores), kKeyBlock / 2, 1},
           down(parts.keys_down, keys.first, parts.keys), rows, panels, key_panels * kLanes / 2,
           {parts.dq + queries.first * parts.width, parts.width}, true);
}

void write(const float* from, int64_t from_stride, int64_t rows, int64_t width, uint16_t* to,
           int64_t to_stride) {
  for (int64_t row = 0; row < rows; ++row) {
    for (int64_t i = 0; i < width; i += kLanes) {
      store(to + row * to_stride + i, lanes(width - i),
            _mm512_loadu_ps(from + row * from_stride + i));
    }
  }
}

}  // namespace
}  // namespace avx512

int64_t attention_backward_workspace(const HeadShape& shape) {
  return avx512::Parts(shape, nullptr).bytes;
}

void attention_backward(const HeadShape& shape, const HeadGradients& head, void* workspace) {
  using namespace avx512;
  const Parts parts(shape, workspace);
  prepare(shape, head, parts);
  std::memset(parts.dq, 0, static_cast<size_t>(parts.queries * parts.width) * sizeof(float));
  for (int64_t key = 0; key < shape.keys; key += kKeyBlock) {
    const Range keys{key, shape.keys - key < kKeyBlock ? shape.keys - key : kKeyBlock};
    bool first_block = true;
    // Under a causal mask the queries before the first key do not see the block at all.
    const int64_t first_query = shape.causal ? key / kQueryBlock * kQueryBlock : 0;
    for (int64_t query = first_query; query < shape.queries; query += kQueryBlock) {
      const int64_t left = shape.queries - query;
      accumulate_block(shape, head, parts, {query, left < kQueryBlock ? left : kQueryBlock}, keys,
                       first_block);
      first_block = false;
    }
    if (first_block) {  // nobody sees these keys
      std::memset(parts.dk, 0, static_cast<size_t>(kKeyBlock * parts.width) * sizeof(float));
      std::memset(parts.dv, 0, static_cast<size_t>(kKeyBlock * parts.width) * sizeof(float));
    }
    write(parts.dk, parts.width, keys.count, shape.width, head.dk.data + key * head.dk.stride,
          head.dk.stride);
    write(parts.dv, parts.width, keys.count, shape.width, head.dv.data + key * head.dv.stride,
          head.dv.stride);
  }
  write(parts.dq, parts.width, shape.queries, shape.width, head.dq.data, head.dq.stride);
}

}  // namespace mos::nn::kernels

#endif  // __x86_64__
