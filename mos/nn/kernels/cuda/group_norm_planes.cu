#include <algorithm>

#include "mos/nn/kernels/cuda/device.cuh"
#include "mos/nn/kernels/cuda/group_norm_layouts.h"

/// Group normalisation of contiguous tensors: a group lies in one piece, and a block takes it.
namespace mos::nn::kernels::cuda::planes {
namespace {

/// Beyond this many elements of a group one block is too little, and ATen is called.
constexpr std::int64_t kMaxGroup = 1 << 17;
constexpr int kMaxThreads = 256;
constexpr int kWarp = 32;

int vector_of(const GroupNorm& norm) { return norm.positions % kVector == 0 ? kVector : 1; }

std::int64_t group_size(const GroupNorm& norm) {
  return std::int64_t{norm.channels / norm.groups} * norm.positions;
}

/// Over the block; each thread gets the sums. `place` is of 2 kWarp numbers of shared memory.
__device__ float2 block_sum(float2 value, float* place) {
  value.x = lane_sum(value.x);
  value.y = lane_sum(value.y);
  const int warp = threadIdx.x / kWarp, warps = blockDim.x / kWarp;
  if (threadIdx.x % kWarp == 0) {
    place[warp] = value.x;
    place[kWarp + warp] = value.y;
  }
  __syncthreads();
  float2 sum = {0.0F, 0.0F};
  for (int i = 0; i < warps; ++i) {
    sum.x += place[i];
    sum.y += place[kWarp + i];
  }
  __syncthreads();
  return sum;
}

/// The group that a block has.
struct Block {
  int width, first, size;  ///< Its channels, the first of them, its elements.
  std::int64_t start;      ///< Of its elements.

  __device__ explicit Block(const GroupNorm& norm)
      : width(norm.channels / norm.groups),
        first(static_cast<int>(blockIdx.x % norm.groups) * width),
        size(width * norm.positions),
        start(std::int64_t{blockIdx.x} * size) {}
};

template <class T, int V>
__global__ void __launch_bounds__(kMaxThreads)
    forward_kernel(GroupNorm norm, const T* __restrict__ all, T* __restrict__ result,
                   float* statistics) {
  const Block block(norm);
  const T* x = all + block.start;
  const float center = to_float(x[0]);
  float2 sums = {0.0F, 0.0F};
#pragma unroll 4
  for (int at = threadIdx.x * V; at < block.size; at += blockDim.x * V) {
    const auto values = load<V>(x + at);
#pragma unroll
    for (int i = 0; i < V; ++i) {
      const float difference = to_float(values.at[i]) - center;
      sums.x += difference;
      sums.y += difference * difference;
    }
  }
  sums = block_sum(sums, shared);
  const float deviation = sums.x / static_cast<float>(block.size);
  const float variance =
      fmaxf(sums.y / static_cast<float>(block.size) - deviation * deviation, 0.0F);
  const float mean = center + deviation, rstd = 1.0F / sqrtf(variance + norm.eps);
  if (threadIdx.x == 0) {
    statistics[blockIdx.x] = mean;
    statistics[gridDim.x + blockIdx.x] = rstd;
  }
#pragma unroll 2
  for (int at = threadIdx.x * V; at < block.size; at += blockDim.x * V) {
    const int channel = block.first + at / norm.positions;
    const float scale = rstd * value_of(norm.weight, channel), bias = value_of(norm.bias, channel);
    const auto values = load<V>(x + at);
    float y[V];
#pragma unroll
    for (int i = 0; i < V; ++i) {
      const float h = scale * (to_float(values.at[i]) - mean) + bias;
      y[i] = norm.silu ? silu_at(h).value : h;
    }
    store(result + block.start + at, y);
  }
}

/// A warp takes a channel at a time. Shared memory: block_sum's.
template <class T, int V>
__global__ void __launch_bounds__(kMaxThreads)
    backward_kernel(GroupNorm norm, const T* __restrict__ x, const T* __restrict__ dy,
                    const float* statistics, T* __restrict__ dx, float* sums) {
  const Block block(norm);
  const int lane = threadIdx.x % kWarp, warps = blockDim.x / kWarp;
  const float mean = statistics[blockIdx.x], rstd = statistics[gridDim.x + blockIdx.x];
  const auto dz_at = [&](float scale, float bias, float difference, float slope) {
    return norm.silu ? slope * silu_at(scale * difference + bias).slope : slope;
  };
  float2 group = {0.0F, 0.0F};
  for (int c = threadIdx.x / kWarp; c < block.width; c += warps) {
    const float gain = value_of(norm.weight, block.first + c), scale = rstd * gain;
    const float bias = value_of(norm.bias, block.first + c);
    const std::int64_t start = block.start + std::int64_t{c} * norm.positions;
    float2 channel = {0.0F, 0.0F};
#pragma unroll 2
    for (int at = lane * V; at < norm.positions; at += kWarp * V) {
      const auto values = load<V>(x + start + at);
      const auto slopes = load<V>(dy + start + at);
#pragma unroll
      for (int i = 0; i < V; ++i) {
        const float difference = to_float(values.at[i]) - mean;
        const float dz = dz_at(scale, bias, difference, to_float(slopes.at[i]));
        channel.x += dz;
        channel.y += dz * difference;
      }
    }
    channel.x = lane_sum(channel.x);
    channel.y = lane_sum(channel.y) * rstd;
    if (lane == 0) {
      const std::int64_t sample = blockIdx.x / norm.groups;
      float* to = sums + sample * 2 * norm.channels + block.first + c;
      to[0] = channel.x;
      to[norm.channels] = channel.y;
      group.x += gain * channel.x;
      group.y += gain * channel.y;
    }
  }
  group = block_sum(group, shared);
  const float size = static_cast<float>(block.size);
  const float offset = -rstd * group.x / size, linear = -rstd * rstd * group.y / size;
#pragma unroll 2
  for (int at = threadIdx.x * V; at < block.size; at += blockDim.x * V) {
    const int channel = block.first + at / norm.positions;
    const float scale = rstd * value_of(norm.weight, channel), bias = value_of(norm.bias, channel);
    const auto values = load<V>(x + block.start + at);
    const auto slopes = load<V>(dy + block.start + at);
    float result[V];
#pragma unroll
    for (int i = 0; i < V; ++i) {
      const float difference = to_float(values.at[i]) - mean;
      const float dz = dz_at(scale, bias, difference, to_float(slopes.at[i]));
      result[i] = scale * dz + linear * difference + offset;
    }
    store(dx + block.start + at, result);
  }
}

Grid grid_of(const GroupNorm& norm) {
  const auto vectors = group_size(norm) / vector_of(norm);
  const auto warps = std::min<std::int64_t>((vectors + kWarp - 1) / kWarp, kMaxThreads / kWarp);
  return {dim3(norm.batch * norm.groups), dim3(static_cast<unsigned>(warps) * kWarp),
          2 * kWarp * sizeof(float)};
}

}  // namespace

bool covers(const GroupNorm& norm) {
  return group_size(norm) <= kMaxGroup && std::int64_t{norm.batch} * norm.groups <= INT32_MAX;
}

void group_norm(const GroupNorm& norm, const void* x, void* y, float* statistics, Stream stream) {
  with_elements(norm.type, [&](auto element) {
    using T = decltype(element);
    auto* kernel = vector_of(norm) == 1 ? forward_kernel<T, 1> : forward_kernel<T, kVector>;
    launch(kernel, grid_of(norm), stream, norm, static_cast<const T*>(x), static_cast<T*>(y),
           statistics);
  });
}

void group_norm_backward(const GroupNorm& norm, const void* x, const void* dy,
                         const float* statistics, void* dx, float* sums, Stream stream) {
  with_elements(norm.type, [&](auto element) {
    using T = decltype(element);
    auto* kernel = vector_of(norm) == 1 ? backward_kernel<T, 1> : backward_kernel<T, kVector>;
    launch(kernel, grid_of(norm), stream, norm, static_cast<const T*>(x), static_cast<const T*>(dy),
           statistics, static_cast<T*>(dx), sums);
  });
}

}  // namespace mos::nn::kernels::cuda::planes
