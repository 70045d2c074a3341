#include <algorithm>

#include "mos/nn/kernels/cuda/device.cuh"
#include "mos/nn/kernels/cuda/group_norm_layouts.h"

/// Group normalisation with channels last. A thread keeps to one vector of channels and goes down
/// the positions; a block takes a whole sample, or a slice of the positions of a large one. Then a
/// first launch writes the sums of each slice and a second maps, given what they add up to.
namespace mos::nn::kernels::cuda::rows {
namespace {

enum class Phase { kWhole, kSums, kMap };

/// Sums and map of one sample in one launch up to this many elements, or from this many samples.
constexpr std::int64_t kSmallSample = 1 << 16;
constexpr int kManySamples = 128;
/// Elements of a slice, and the most slices of a launch.
constexpr std::int64_t kSliceElements = 1 << 14;
constexpr int kMaxSlices = 1024;
constexpr int kThreads = 256;
constexpr int kMaxThreads = 512;

int vector_of(const GroupNorm& norm) { return norm.channels % kVector == 0 ? kVector : 1; }

int slices_of(const GroupNorm& norm) {
  const std::int64_t elements = std::int64_t{norm.channels} * norm.positions;
  if (elements <= kSmallSample || norm.batch >= kManySamples) return 1;
  const auto most = std::min<std::int64_t>(std::max(kMaxSlices / norm.batch, 1), norm.positions);
  return static_cast<int>(std::min(elements / kSliceElements, most));
}

dim3 threads_of(const GroupNorm& norm) {
  const int columns = norm.channels / vector_of(norm);
  const int most = std::max(kThreads / columns, 1);
  const int slices = slices_of(norm);
  return dim3(columns, std::min(most, (norm.positions + slices - 1) / slices));
}

/// Of Block below.
std::size_t shared_of(const GroupNorm& norm) {
  const std::size_t rows = 2 * (threads_of(norm).y + 1) * static_cast<std::size_t>(norm.channels);
  return sizeof(float) * (2 * static_cast<std::size_t>(norm.groups) + rows);
}

/// The piece that a block has, and its shared memory.
struct Block {
  int sample, first, last;      ///< Positions first .. last - 1.
  std::int64_t start, sums_at;  ///< Of the sample among elements, of the slice among sums.
  int width;                    ///< Channels of a group.
  float *one, *two;             ///< Two values of each group.
  float* totals;                ///< [2,channels]
  float* parts;                 ///< [2,rows of threads,channels]

  __device__ explicit Block(const GroupNorm& norm)
      : sample(blockIdx.y), width(norm.channels / norm.groups) {
    const int slices = gridDim.x, slice = blockIdx.x;
    first = static_cast<int>(std::int64_t{norm.positions} * slice / slices);
    last = static_cast<int>(std::int64_t{norm.positions} * (slice + 1) / slices);
    start = std::int64_t{sample} * norm.positions * norm.channels;
    sums_at = (std::int64_t{sample} * slices + slice) * 2 * norm.channels;
    one = shared;
    two = one + norm.groups;
    totals = two + norm.groups;
    parts = totals + 2 * norm.channels;
  }
};

/// The groups of the channels of a thread, with one division for all.
template <int V>
struct Groups {
  int of[V];

  __device__ explicit Groups(const Block& block) {
    int group = static_cast<int>(threadIdx.x) * V / block.width;
    int rest = static_cast<int>(threadIdx.x) * V - group * block.width;
#pragma unroll
    for (int i = 0; i < V; ++i) {
      of[i] = group;
      if (++rest == block.width) {
        rest = 0;
        ++group;
      }
    }
  }
};

/// totals [2,channels]: the sums of the block's threads.
template <int V>
__device__ void add_block(const GroupNorm& norm, const Block& block, const float (&a)[V],
                          const float (&b)[V]) {
  const int rows = blockDim.y, channels = norm.channels;
  float* mine = block.parts + threadIdx.y * channels + threadIdx.x * V;
#pragma unroll
  for (int i = 0; i < V; ++i) {
    mine[i] = a[i];
    mine[rows * channels + i] = b[i];
  }
  __syncthreads();
  for (int i = thread_number(); i < 2 * channels; i += thread_count()) {
    const float* column = block.parts + (i < channels ? i : i + (rows - 1) * channels);
    float sum = 0;
#pragma unroll 4
    for (int row = 0; row < rows; ++row) sum += column[row * channels];
    block.totals[i] = sum;
  }
  __syncthreads();
}

/// totals [2,channels] of the block are copied to or from those of its sample or slice.
__device__ void copy_totals(const GroupNorm& norm, const float* from, float* to) {
  for (int i = thread_number(); i < 2 * norm.channels; i += thread_count()) to[i] = from[i];
  __syncthreads();
}

/// One value near each group's mean, from the first position of the sample: squared deviations
/// from it lose nothing to cancellation.
template <class T>
__device__ void find_centers(const GroupNorm& norm, const Block& block, const T* __restrict__ x) {
  const int count = min(block.width, kVector);
  for (int g = thread_number(); g < norm.groups; g += thread_count()) {
    float sum = 0;
    for (int i = 0; i < count; ++i) sum += to_float(x[block.start + g * block.width + i]);
    block.one[g] = sum / static_cast<float>(count);
  }
  __syncthreads();
}

/// Turns the centers into the means and writes 1/standard deviation beside them.
__device__ void find_statistics(const GroupNorm& norm, const Block& block, float* statistics) {
  const float size = static_cast<float>(block.width) * static_cast<float>(norm.positions);
  for (int g = thread_number(); g < norm.groups; g += thread_count()) {
    float sum = 0, square = 0;
    for (int c = g * block.width; c < (g + 1) * block.width; ++c) {
      sum += block.totals[c];
      square += block.totals[norm.channels + c];
    }
    const float deviation = sum / size;
    const float variance = fmaxf(square / size - deviation * deviation, 0.0F);
    const float mean = block.one[g] + deviation;
    const float rstd = 1.0F / sqrtf(variance + norm.eps);
    block.one[g] = mean;
    block.two[g] = rstd;
    if (blockIdx.x == 0) {
      statistics[block.sample * norm.groups + g] = mean;
      statistics[(norm.batch + block.sample) * norm.groups + g] = rstd;
    }
  }
  __syncthreads();
}

/// y = scale (x - mean) + bias for the channels of a thread.
template <int V>
struct Affine {
  float mean[V], scale[V], bias[V];

  __device__ void set(const GroupNorm& norm, int i, float group_mean, float rstd) {
    const int channel = threadIdx.x * V + i;
    mean[i] = group_mean;
    scale[i] = rstd * value_of(norm.weight, channel);
    bias[i] = value_of(norm.bias, channel);
  }
};

template <class T, int V>
__device__ void add_moments(const GroupNorm& norm, const Block& block, const T* __restrict__ x) {
  const Groups<V> group(block);
  float center[V], sum[V] = {}, square[V] = {};
#pragma unroll
  for (int i = 0; i < V; ++i) center[i] = block.one[group.of[i]];
  const T* from = x + block.start + threadIdx.x * V;
#pragma unroll 4
  for (int row = block.first + threadIdx.y; row < block.last; row += blockDim.y) {
    const auto values = load<V>(from + std::int64_t{row} * norm.channels);
#pragma unroll
    for (int i = 0; i < V; ++i) {
      const float difference = to_float(values.at[i]) - center[i];
      sum[i] += difference;
      square[i] += difference * difference;
    }
  }
  add_block(norm, block, sum, square);
}

template <class T, int V>
__device__ void map_rows(const GroupNorm& norm, const Block& block, const T* __restrict__ x,
                         T* __restrict__ y) {
  const Groups<V> group(block);
  Affine<V> affine;
#pragma unroll
  for (int i = 0; i < V; ++i) {
    affine.set(norm, i, block.one[group.of[i]], block.two[group.of[i]]);
  }
  const std::int64_t at = block.start + threadIdx.x * V;
#pragma unroll 4
  for (int row = block.first + threadIdx.y; row < block.last; row += blockDim.y) {
    const std::int64_t place = at + std::int64_t{row} * norm.channels;
    const auto values = load<V>(x + place);
    float result[V];
#pragma unroll
    for (int i = 0; i < V; ++i) {
      const float h = affine.scale[i] * (to_float(values.at[i]) - affine.mean[i]) + affine.bias[i];
      result[i] = norm.silu ? silu_at(h).value : h;
    }
    store(y + place, result);
  }
}

/// `sums` [batch,slices,2,channels] are written by kSums, [batch,2,channels] read by kMap.
template <class T, int V, Phase phase>
__global__ void __launch_bounds__(kMaxThreads)
    forward_kernel(GroupNorm norm, const T* __restrict__ x, T* __restrict__ y, float* statistics,
                   float* sums) {
  const Block block(norm);
  find_centers(norm, block, x);
  if constexpr (phase == Phase::kMap) {
    copy_totals(norm, sums + std::int64_t{block.sample} * 2 * norm.channels, block.totals);
  } else {
    add_moments<T, V>(norm, block, x);
  }
  if constexpr (phase == Phase::kSums) {
    copy_totals(norm, block.totals, sums + block.sums_at);
  } else {
    find_statistics(norm, block, statistics);
    map_rows<T, V>(norm, block, x, y);
  }
}

/// The affine map and 1/standard deviation of the channels of a thread, from the statistics.
template <int V>
struct Saved {
  Affine<V> affine;
  float rstd[V];

  __device__ Saved(const GroupNorm& norm, const Block& block, const float* statistics) {
    const Groups<V> group(block);
#pragma unroll
    for (int i = 0; i < V; ++i) {
      const int at = block.sample * norm.groups + group.of[i];
      rstd[i] = statistics[norm.batch * norm.groups + at];
      affine.set(norm, i, statistics[at], rstd[i]);
    }
  }
};

/// dy before the activation.
__device__ float before_activation(const GroupNorm& norm, float scale, float difference, float bias,
                                   float dy) {
  return norm.silu ? dy * silu_at(scale * difference + bias).slope : dy;
}

template <class T, int V>
__device__ void add_gradients(const GroupNorm& norm, const Block& block, const Saved<V>& saved,
                              const T* __restrict__ x, const T* __restrict__ dy) {
  const Affine<V>& affine = saved.affine;
  float sum[V] = {}, product[V] = {};
  const std::int64_t at = block.start + threadIdx.x * V;
#pragma unroll 2
  for (int row = block.first + threadIdx.y; row < block.last; row += blockDim.y) {
    const std::int64_t place = at + std::int64_t{row} * norm.channels;
    const auto values = load<V>(x + place);
    const auto slopes = load<V>(dy + place);
#pragma unroll
    for (int i = 0; i < V; ++i) {
      const float difference = to_float(values.at[i]) - affine.mean[i];
      const float dz = before_activation(norm, affine.scale[i], difference, affine.bias[i],
                                         to_float(slopes.at[i]));
      sum[i] += dz;
      product[i] += dz * difference;
    }
  }
#pragma unroll
  for (int i = 0; i < V; ++i) product[i] *= saved.rstd[i];
  add_block(norm, block, sum, product);
}

/// The means over each group of g dz and g dz xhat, g = weight.
__device__ void find_means(const GroupNorm& norm, const Block& block) {
  const float size = static_cast<float>(block.width) * static_cast<float>(norm.positions);
  for (int g = thread_number(); g < norm.groups; g += thread_count()) {
    float sum = 0, product = 0;
    for (int c = g * block.width; c < (g + 1) * block.width; ++c) {
      const float gain = value_of(norm.weight, c);
      sum += gain * block.totals[c];
      product += gain * block.totals[norm.channels + c];
    }
    block.one[g] = sum / size;
    block.two[g] = product / size;
  }
  __syncthreads();
}

/// dx = rstd (g dz - mean(g dz) - xhat mean(g dz xhat)).
template <class T, int V>
__device__ void map_gradients(const GroupNorm& norm, const Block& block, const Saved<V>& saved,
                              const T* __restrict__ x, const T* __restrict__ dy,
                              T* __restrict__ dx) {
  const Affine<V>& affine = saved.affine;
  const Groups<V> group(block);
  float offset[V], slope[V];
#pragma unroll
  for (int i = 0; i < V; ++i) {
    offset[i] = -saved.rstd[i] * block.one[group.of[i]];
    slope[i] = -saved.rstd[i] * saved.rstd[i] * block.two[group.of[i]];
  }
  const std::int64_t at = block.start + threadIdx.x * V;
#pragma unroll 2
  for (int row = block.first + threadIdx.y; row < block.last; row += blockDim.y) {
    const std::int64_t place = at + std::int64_t{row} * norm.channels;
    const auto values = load<V>(x + place);
    const auto slopes = load<V>(dy + place);
    float result[V];
#pragma unroll
    for (int i = 0; i < V; ++i) {
      const float difference = to_float(values.at[i]) - affine.mean[i];
      const float dz = before_activation(norm, affine.scale[i], difference, affine.bias[i],
                                         to_float(slopes.at[i]));
      result[i] = affine.scale[i] * dz + slope[i] * difference + offset[i];
    }
    store(dx + place, result);
  }
}

/// `sums` as in forward_kernel; kWhole writes them, too, with one slice.
template <class T, int V, Phase phase>
__global__ void __launch_bounds__(kMaxThreads)
    backward_kernel(GroupNorm norm, const T* __restrict__ x, const T* __restrict__ dy,
                    const float* statistics, T* __restrict__ dx, float* sums) {
  const Block block(norm);
  const Saved<V> saved(norm, block, statistics);
  if constexpr (phase == Phase::kMap) {
    copy_totals(norm, sums + std::int64_t{block.sample} * 2 * norm.channels, block.totals);
  } else {
    add_gradients<T, V>(norm, block, saved, x, dy);
    copy_totals(norm, block.totals, sums + block.sums_at);
  }
  if constexpr (phase != Phase::kSums) {
    find_means(norm, block);
    map_gradients<T, V>(norm, block, saved, x, dy, dx);
  }
}

template <class T, int V>
void forward(const GroupNorm& norm, const T* x, T* y, float* statistics, float* scratch,
             Stream stream) {
  const int slices = slices_of(norm);
  const Grid grid{dim3(slices, norm.batch), threads_of(norm), shared_of(norm)};
  if (slices == 1) {
    launch(forward_kernel<T, V, Phase::kWhole>, grid, stream, norm, x, y, statistics, scratch);
    return;
  }
  float* totals = scratch + std::size_t{2} * norm.batch * slices * norm.channels;
  launch(forward_kernel<T, V, Phase::kSums>, grid, stream, norm, x, y, statistics, scratch);
  add_up_each(scratch, norm.batch, slices, norm.channels, totals, stream);
  launch(forward_kernel<T, V, Phase::kMap>, grid, stream, norm, x, y, statistics, totals);
}

template <class T, int V>
void backward(const GroupNorm& norm, const T* x, const T* dy, const float* statistics, T* dx,
              float* sums, float* scratch, Stream stream) {
  const int slices = slices_of(norm);
  const Grid grid{dim3(slices, norm.batch), threads_of(norm), shared_of(norm)};
  if (slices == 1) {
    launch(backward_kernel<T, V, Phase::kWhole>, grid, stream, norm, x, dy, statistics, dx, sums);
    return;
  }
  launch(backward_kernel<T, V, Phase::kSums>, grid, stream, norm, x, dy, statistics, dx, scratch);
  add_up_each(scratch, norm.batch, slices, norm.channels, sums, stream);
  launch(backward_kernel<T, V, Phase::kMap>, grid, stream, norm, x, dy, statistics, dx, sums);
}

}  // namespace

bool covers(const GroupNorm& norm) {
  return threads_of(norm).x <= static_cast<unsigned>(kMaxThreads) &&
         shared_of(norm) <= kSharedBytes && norm.batch <= 65535;
}

std::size_t scratch_size(const GroupNorm& norm) {
  const auto slices = static_cast<std::size_t>(slices_of(norm));
  return slices == 1 ? 0 : 2 * (slices + 1) * static_cast<std::size_t>(norm.batch) * norm.channels;
}

void group_norm(const GroupNorm& norm, const void* x, void* y, float* statistics, float* scratch,
                Stream stream) {
  with_elements(norm.type, [&](auto element) {
    using T = decltype(element);
    auto* run = vector_of(norm) == 1 ? forward<T, 1> : forward<T, kVector>;
    run(norm, static_cast<const T*>(x), static_cast<T*>(y), statistics, scratch, stream);
  });
}

void group_norm_backward(const GroupNorm& norm, const void* x, const void* dy,
                         const float* statistics, void* dx, float* sums, float* scratch,
                         Stream stream) {
  with_elements(norm.type, [&](auto element) {
    using T = decltype(element);
    auto* run = vector_of(norm) == 1 ? backward<T, 1> : backward<T, kVector>;
    run(norm, static_cast<const T*>(x), static_cast<const T*>(dy), statistics, static_cast<T*>(dx),
        sums, scratch, stream);
  });
}

}  // namespace mos::nn::kernels::cuda::rows
