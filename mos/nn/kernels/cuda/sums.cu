#include "mos/nn/kernels/cuda/device.cuh"
#include "mos/nn/kernels/cuda/group_norm_layouts.h"

namespace mos::nn::kernels::cuda {
namespace {

/// Columns of a block, 32 bytes beside each other, and the threads that share each of them.
constexpr int kColumns = 8;
constexpr int kRows = 64;

__device__ void write(const Gradient& to, std::int64_t i, float value) {
  if (to.data == nullptr) return;
  if (to.type == Type::kFloat) {
    static_cast<float*>(to.data)[i] = value;
  } else if (to.type == Type::kHalf) {
    round_to(static_cast<__half*>(to.data)[i], value);
  } else {
    round_to(static_cast<__nv_bfloat16*>(to.data)[i], value);
  }
}

/// from [batch,rows,2,width]; sample b's sums go to first and second [2 b width ...].
__global__ void __launch_bounds__(kColumns* kRows)
    add_kernel(const float* from, int rows, int width, Gradient first, Gradient second) {
  const int column = blockIdx.x * kColumns + threadIdx.x;
  const std::int64_t sample = blockIdx.y;
  float sum = 0;
  if (column < 2 * width) {
    const float* start = from + sample * rows * 2 * width + column;
#pragma unroll 8
    for (int row = threadIdx.y; row < rows; row += kRows) {
      sum += start[std::int64_t{row} * 2 * width];
    }
  }
  float* mine = shared + threadIdx.y * kColumns + threadIdx.x;
  *mine = sum;
  __syncthreads();
  for (int step = kRows / 2; step > 0; step /= 2) {
    if (static_cast<int>(threadIdx.y) < step) *mine += mine[step * kColumns];
    __syncthreads();
  }
  if (threadIdx.y != 0 || column >= 2 * width) return;
  const std::int64_t at = sample * 2 * width;
  if (column < width) {
    write(first, at + column, *mine);
  } else {
    write(second, at + column - width, *mine);
  }
}

void add_columns(const float* from, int batch, int rows, int width, const Gradient& first,
                 const Gradient& second, Stream stream) {
  const Grid grid{dim3((2 * width + kColumns - 1) / kColumns, batch), dim3(kColumns, kRows),
                  kColumns * kRows * sizeof(float)};
  launch(add_kernel, grid, stream, from, rows, width, first, second);
}

}  // namespace

void add_up_each(const float* from, int batch, int rows, int width, float* to, Stream stream) {
  add_columns(from, batch, rows, width, {to, Type::kFloat}, {to + width, Type::kFloat}, stream);
}

void add_up(const float* sums, int rows, int width, const Gradient& bias, const Gradient& weight,
            Stream stream) {
  add_columns(sums, 1, rows, width, bias, weight, stream);
}

bool covers(const GroupNorm& norm) {
  return norm.channels_last ? rows::covers(norm) : planes::covers(norm);
}

std::size_t scratch_size(const GroupNorm& norm) {
  return norm.channels_last ? rows::scratch_size(norm) : 0;
}

void group_norm(const GroupNorm& norm, const void* x, void* y, float* statistics, float* scratch,
                Stream stream) {
  if (norm.channels_last) {
    rows::group_norm(norm, x, y, statistics, scratch, stream);
  } else {
    planes::group_norm(norm, x, y, statistics, stream);
  }
}

void group_norm_backward(const GroupNorm& norm, const void* x, const void* dy,
                         const float* statistics, void* dx, float* sums, float* scratch,
                         Stream stream) {
  if (norm.channels_last) {
    rows::group_norm_backward(norm, x, dy, statistics, dx, sums, scratch, stream);
  } else {
    planes::group_norm_backward(norm, x, dy, statistics, dx, sums, stream);
  }
}

}  // namespace mos::nn::kernels::cuda
