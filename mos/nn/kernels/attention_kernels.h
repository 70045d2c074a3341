#pragma once

#include <cstdint>

/// Attention of one head on bfloat16 (passed as its bits) without ever storing the score matrix.
/// Keys and values are packed once and then serve all queries. Pointers are to rows of `width`
/// values whose starts are `stride` apart; width is even and at most kMaxHeadWidth.
namespace mos::nn::kernels {

inline constexpr int64_t kMaxHeadWidth = 512;

struct HeadShape {
  int64_t queries, keys, width;
  float scale;  ///< factor on q k^T, positive
  bool causal;  ///< query i sees keys 0..i
};

struct HeadRows {
  const uint16_t* data;
  int64_t stride;
};

struct HeadOutput {
  uint16_t* data;
  int64_t stride;
};

/// Sizes in 32-bit units of one head's packed keys and values.
struct PackedSize {
  int64_t depth_pairs;  ///< pairs along width, padded for the matrix unit in use
  int64_t keys, values;
};

/// Inputs and outputs of the backward pass of one head.
struct HeadGradients {
  HeadRows q, k, v, out, d_out;
  const float* log_sums;  ///< from the forward pass
  HeadOutput dq, dk, dv;
};

/// Both passes on one kind of matrix unit.
struct AttentionKernel {
  PackedSize (*packed_size)(const HeadShape&);
  void (*pack)(const HeadShape&, const HeadRows& k, const HeadRows& v, uint32_t* packed_keys,
               uint32_t* packed_values);
  /// Writes softmax(scale q k^T) v for the queries first..last-1 and, unless null, the base-2
  /// logarithm of each softmax's denominator, log2 sum_j 2^(scale log2(e) q k_j), to
  /// log_sums [queries].
  void (*forward)(const HeadShape&, const HeadRows& q, const uint32_t* packed_keys,
                  const uint32_t* packed_values, int64_t first, int64_t last, const HeadOutput& out,
                  float* log_sums);
  /// Bytes of scratch memory that `backward` needs, to be aligned to 64.
  int64_t (*workspace)(const HeadShape&);
  /// Recomputes the probabilities block by block.
  void (*backward)(const HeadShape&, const HeadGradients&, void* workspace);
};

/// With vdpbf16ps: needs avx512_available().
extern const AttentionKernel kAvx512Attention;
/// With AMX tiles: needs amx_available().
extern const AttentionKernel kAmxAttention;
/// The AMX kernel on tiles computed in software, for tests on machines without AMX.
extern const AttentionKernel kEmulatedAmxAttention;

}  // namespace mos::nn::kernels
