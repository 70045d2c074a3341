#include <algorithm>
#include <type_traits>

#include "mos/nn/kernels/cuda/device.cuh"

/// Layer normalisation: a warp, or a part of it for narrow rows, keeps a row in registers. Blocks
/// go over the rows, so that the weights are read, and their gradients written, once a block.
namespace mos::nn::kernels::cuda {
namespace {

constexpr int kWarp = 32;
constexpr int kMaxVectors = 5;  ///< Of a lane: rows of 1280.
constexpr int kForwardBlocks = 1024;
constexpr int kBackwardBlocks = 512;

/// How a row is spread over lanes.
struct Spread {
  int vectors;  ///< Of a lane.
  int lanes;    ///< Of a row, a power of 2.
};

Spread spread_of(int width) {
  const int count = width / kVector;
  Spread spread{(count + kWarp - 1) / kWarp, 1};
  while (spread.lanes * spread.vectors < count) spread.lanes *= 2;
  return spread;
}

constexpr int threads_for(int vectors) { return vectors <= 2 ? 256 : 128; }

int blocks_of(const LayerNorm& norm, int most) {
  const Spread spread = spread_of(norm.width);
  const int rows = threads_for(spread.vectors) / spread.lanes;
  return static_cast<int>(std::min<std::int64_t>((norm.rows + rows - 1) / rows, most));
}

/// Where a thread is: its row in the block and the columns that it has.
template <int K>
struct Lane {
  int lanes, lane, slot, slots;

  __device__ explicit Lane(int lanes_of_row)
      : lanes(lanes_of_row),
        lane(threadIdx.x % lanes_of_row),
        slot(threadIdx.x / lanes_of_row),
        slots(blockDim.x / lanes_of_row) {}
  __device__ int column(int k) const { return (lane + k * lanes) * kVector; }
};

template <int K>
__device__ void read_parameter(const Parameter& parameter, const Lane<K>& lane, int width,
                               float (&to)[K][kVector]) {
#pragma unroll
  for (int k = 0; k < K; ++k) {
#pragma unroll
    for (int i = 0; i < kVector; ++i) {
      to[k][i] = lane.column(k) < width ? value_of(parameter, lane.column(k) + i) : 0.0F;
    }
  }
}

/// Zeros where there is no row or column.
template <int K, class T>
__device__ void read_row(const T* x, std::int64_t row, const LayerNorm& norm, const Lane<K>& lane,
                         Vector<T, kVector> (&to)[K]) {
#pragma unroll
  for (int k = 0; k < K; ++k) {
    if (row < norm.rows && lane.column(k) < norm.width) {
      to[k] = load<kVector>(x + row * norm.width + lane.column(k));
    } else {
#pragma unroll
      for (int i = 0; i < kVector; ++i) round_to(to[k].at[i], 0.0F);
    }
  }
}

template <class T, int K>
__global__ void __launch_bounds__(threads_for(K))
    forward_kernel(LayerNorm norm, int lanes, const T* __restrict__ x, T* __restrict__ y,
                   float* statistics) {
  const Lane<K> lane(lanes);
  float weight[K][kVector], bias[K][kVector];
  read_parameter(norm.weight, lane, norm.width, weight);
  read_parameter(norm.bias, lane, norm.width, bias);
  const float size = static_cast<float>(norm.width);
  for (std::int64_t first = std::int64_t{blockIdx.x} * lane.slots; first < norm.rows;
       first += std::int64_t{gridDim.x} * lane.slots) {
    const std::int64_t row = first + lane.slot;
    Vector<T, kVector> values[K];
    read_row(x, row, norm, lane, values);
    float sum = 0, square = 0;
#pragma unroll
    for (int k = 0; k < K; ++k) {
#pragma unroll
      for (int i = 0; i < kVector; ++i) sum += to_float(values[k].at[i]);
    }
    const float mean = lane_sum(sum, lanes) / size;
#pragma unroll
    for (int k = 0; k < K; ++k) {
      if (lane.column(k) >= norm.width) continue;
#pragma unroll
      for (int i = 0; i < kVector; ++i) {
        const float difference = to_float(values[k].at[i]) - mean;
        square += difference * difference;
      }
    }
    const float rstd = 1.0F / sqrtf(lane_sum(square, lanes) / size + norm.eps);
    if (row >= norm.rows) continue;  // of the last round: no lane waits for another any more
    if (lane.lane == 0) {
      statistics[row] = mean;
      statistics[norm.rows + row] = rstd;
    }
#pragma unroll
    for (int k = 0; k < K; ++k) {
      if (lane.column(k) >= norm.width) continue;
      float result[kVector];
#pragma unroll
      for (int i = 0; i < kVector; ++i) {
        result[i] = (to_float(values[k].at[i]) - mean) * rstd * weight[k][i] + bias[k][i];
      }
      store(y + row * norm.width + lane.column(k), result);
    }
  }
}

/// to [width]: the sums over the rows of a block, through shared memory [slots,width].
template <int K>
__device__ void write_sums(const Lane<K>& lane, int width, const float (&sums)[K][kVector],
                           float* to) {
#pragma unroll
  for (int k = 0; k < K; ++k) {
    if (lane.column(k) >= width) continue;
#pragma unroll
    for (int i = 0; i < kVector; ++i) shared[lane.slot * width + lane.column(k) + i] = sums[k][i];
  }
  __syncthreads();
  for (int column = threadIdx.x; column < width; column += blockDim.x) {
    float sum = 0;
    for (int slot = 0; slot < lane.slots; ++slot) sum += shared[slot * width + column];
    to[column] = sum;
  }
  __syncthreads();
}

/// dx = rstd (g dy - mean(g dy) - xhat mean(g dy xhat)), g = weight.
template <class T, int K, bool weights_train>
__global__ void __launch_bounds__(threads_for(K))
    backward_kernel(LayerNorm norm, int lanes, const T* __restrict__ x, const T* __restrict__ dy,
                    const float* statistics, T* __restrict__ dx, float* sums) {
  const Lane<K> lane(lanes);
  float weight[K][kVector], bias_sum[K][kVector] = {}, weight_sum[K][kVector] = {};
  read_parameter(norm.weight, lane, norm.width, weight);
  const float size = static_cast<float>(norm.width);
  for (std::int64_t first = std::int64_t{blockIdx.x} * lane.slots; first < norm.rows;
       first += std::int64_t{gridDim.x} * lane.slots) {
    const std::int64_t row = first + lane.slot;
    const bool inside = row < norm.rows;
    Vector<T, kVector> values[K], slopes[K];
    read_row(x, row, norm, lane, values);
    read_row(dy, row, norm, lane, slopes);
    const float mean = inside ? statistics[row] : 0.0F;
    const float rstd = inside ? statistics[norm.rows + row] : 0.0F;
    float sum = 0, product = 0;
#pragma unroll
    for (int k = 0; k < K; ++k) {
#pragma unroll
      for (int i = 0; i < kVector; ++i) {
        const float xhat = (to_float(values[k].at[i]) - mean) * rstd;
        const float d = to_float(slopes[k].at[i]);
        sum += weight[k][i] * d;
        product += weight[k][i] * d * xhat;
        if constexpr (weights_train) {
          bias_sum[k][i] += d;
          weight_sum[k][i] += d * xhat;
        }
      }
    }
    const float offset = lane_sum(sum, lanes) / size, linear = lane_sum(product, lanes) / size;
#pragma unroll
    for (int k = 0; k < K; ++k) {
      if (!inside || lane.column(k) >= norm.width) continue;
      float result[kVector];
#pragma unroll
      for (int i = 0; i < kVector; ++i) {
        const float xhat = (to_float(values[k].at[i]) - mean) * rstd;
        result[i] = rstd * (weight[k][i] * to_float(slopes[k].at[i]) - offset - xhat * linear);
      }
      store(dx + row * norm.width + lane.column(k), result);
    }
  }
  if constexpr (weights_train) {
    float* to = sums + std::int64_t{blockIdx.x} * 2 * norm.width;
    write_sums(lane, norm.width, bias_sum, to);
    write_sums(lane, norm.width, weight_sum, to + norm.width);
  }
}

/// Calls make(std::integral_constant) of the vectors of a lane.
template <class Make>
void with_vectors(int vectors, const Make& make) {
  switch (vectors) {
    case 1:
      return make(std::integral_constant<int, 1>());
    case 2:
      return make(std::integral_constant<int, 2>());
    case 3:
      return make(std::integral_constant<int, 3>());
    case 4:
      return make(std::integral_constant<int, 4>());
    default:
      return make(std::integral_constant<int, kMaxVectors>());
  }
}

}  // namespace

bool covers(const LayerNorm& norm) {
  return norm.width % kVector == 0 && norm.width <= kMaxVectors * kWarp * kVector;
}

int sum_rows(const LayerNorm& norm) { return blocks_of(norm, kBackwardBlocks); }

void layer_norm(const LayerNorm& norm, const void* x, void* y, float* statistics, Stream stream) {
  const Spread spread = spread_of(norm.width);
  with_elements(norm.type, [&](auto element) {
    using T = decltype(element);
    with_vectors(spread.vectors, [&](auto constant) {
      constexpr int K = decltype(constant)::value;
      const Grid grid{dim3(blocks_of(norm, kForwardBlocks)), dim3(threads_for(K))};
      launch(forward_kernel<T, K>, grid, stream, norm, spread.lanes, static_cast<const T*>(x),
             static_cast<T*>(y), statistics);
    });
  });
}

void layer_norm_backward(const LayerNorm& norm, const void* x, const void* dy,
                         const float* statistics, void* dx, float* sums, Stream stream) {
  const Spread spread = spread_of(norm.width);
  with_elements(norm.type, [&](auto element) {
    using T = decltype(element);
    with_vectors(spread.vectors, [&](auto constant) {
      constexpr int K = decltype(constant)::value;
      const std::size_t slots = threads_for(K) / spread.lanes;
      const Grid grid{dim3(blocks_of(norm, kBackwardBlocks)), dim3(threads_for(K)),
                      sums == nullptr ? 0 : slots * norm.width * sizeof(float)};
      auto* kernel = sums == nullptr ? backward_kernel<T, K, false> : backward_kernel<T, K, true>;
      launch(kernel, grid, stream, norm, spread.lanes, static_cast<const T*>(x),
             static_cast<const T*>(dy), statistics, static_cast<T*>(dx), sums);
    });
  });
}

}  // namespace mos::nn::kernels::cuda
