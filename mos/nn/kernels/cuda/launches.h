#pragma once

#include <cstddef>
#include <cstdint>

struct CUstream_st;

/// Launches of our CUDA kernels: plain pointers to device memory, so that nvcc compiles them
/// without LibTorch and the C++ compiler without CUDA. float32 inside, one rounding at the end, no
/// atomics: equal inputs give equal bits. Memory of elements starts at 16 bytes.
namespace mos::nn::kernels::cuda {

using Stream = CUstream_st*;

enum class Type { kFloat, kBfloat16, kHalf };

/// A weight or bias as it is kept; kernels read any type.
struct Parameter {
  const void* data;
  Type type;
};

/// Where the gradient of a parameter goes; null for one that is not wanted.
struct Gradient {
  void* data;
  Type type;
};

/// x [batch,positions,channels] if `channels_last`, else [batch,channels,positions].
struct GroupNorm {
  Type type;  ///< Of x and y: kBfloat16 or kHalf.
  int batch, channels, positions, groups;
  bool channels_last;
  bool silu;
  float eps;
  Parameter weight, bias;
};

/// Whether the launches below take this shape.
bool covers(const GroupNorm& norm);

/// float32 numbers of scratch memory that either pass takes; may be 0.
std::size_t scratch_size(const GroupNorm& norm);

/// Writes y and the mean and 1/standard deviation of each group, statistics [2,batch,groups].
void group_norm(const GroupNorm& norm, const void* x, void* y, float* statistics, float* scratch,
                Stream stream);

/// Writes dx and sums [batch,2,channels]: over positions of dz and of dz xhat, which are the
/// gradients of bias and weight of each sample.
void group_norm_backward(const GroupNorm& norm, const void* x, const void* dy,
                         const float* statistics, void* dx, float* sums, float* scratch,
                         Stream stream);

/// x [rows,width].
struct LayerNorm {
  Type type;
  std::int64_t rows;
  int width;
  float eps;
  Parameter weight, bias;
};

bool covers(const LayerNorm& norm);

/// Rows of the sums that the backward pass writes.
int sum_rows(const LayerNorm& norm);

/// Writes y and statistics [2,rows].
void layer_norm(const LayerNorm& norm, const void* x, void* y, float* statistics, Stream stream);

/// Writes dx and, unless null, sums [sum_rows,2,width]: parts of the gradients of bias and weight.
void layer_norm_backward(const LayerNorm& norm, const void* x, const void* dy,
                         const float* statistics, void* dx, float* sums, Stream stream);

/// The sums over `rows` of sums [rows,2,width]: the gradients of bias and weight.
void add_up(const float* sums, int rows, int width, const Gradient& bias, const Gradient& weight,
            Stream stream);

enum class Pointwise { kSilu, kQuickGelu, kGelu };

void activate(Pointwise f, Type type, const void* x, void* y, std::int64_t count, Stream stream);
void activate_backward(Pointwise f, Type type, const void* x, const void* dy, void* dx,
                       std::int64_t count, Stream stream);

/// x [rows,2 width] -> y [rows,width]; `width` is a multiple of kGegluStep.
inline constexpr int kGegluStep = 8;
void geglu(Type type, const void* x, void* y, std::int64_t rows, int width, Stream stream);
void geglu_backward(Type type, const void* x, const void* dy, void* dx, std::int64_t rows,
                    int width, Stream stream);

}  // namespace mos::nn::kernels::cuda
