#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cstdint>

#include "mos/nn/kernels/cuda/launch.cuh"

/// What the kernels share: elements as float32, in vectors of 16 bytes, and the activations.
namespace mos::nn::kernels::cuda {

/// The shared memory of a block, of the size that its launch gave.
extern __shared__ float shared[];

/// Elements of 16 bits that one load of 16 bytes takes.
inline constexpr int kVector = 8;
/// Shared memory that a block has without asking.
inline constexpr std::size_t kSharedBytes = 48 << 10;

inline __device__ float to_float(__nv_bfloat16 x) { return __bfloat162float(x); }
inline __device__ float to_float(__half x) { return __half2float(x); }
inline __device__ void round_to(__nv_bfloat16& to, float x) { to = __float2bfloat16_rn(x); }
inline __device__ void round_to(__half& to, float x) { to = __float2half_rn(x); }

template <class T, int V>
struct alignas(sizeof(T) * V) Vector {
  T at[V];
};

template <int V, class T>
__device__ Vector<T, V> load(const T* from) {
  return *reinterpret_cast<const Vector<T, V>*>(from);
}

template <class T, int V>
__device__ void store(T* to, const float (&values)[V]) {
  Vector<T, V> vector;
#pragma unroll
  for (int i = 0; i < V; ++i) round_to(vector.at[i], values[i]);
  *reinterpret_cast<Vector<T, V>*>(to) = vector;
}

inline __device__ float value_of(const Parameter& parameter, int i) {
  if (parameter.type == Type::kFloat) return static_cast<const float*>(parameter.data)[i];
  if (parameter.type == Type::kHalf) return to_float(static_cast<const __half*>(parameter.data)[i]);
  return to_float(static_cast<const __nv_bfloat16*>(parameter.data)[i]);
}

inline __device__ int thread_number() { return threadIdx.y * blockDim.x + threadIdx.x; }
inline __device__ int thread_count() { return blockDim.x * blockDim.y; }

/// Over the neighbouring `lanes` (a power of 2) of a warp; each of them gets the sum.
inline __device__ float lane_sum(float x, int lanes = 32) {
  for (int step = lanes / 2; step > 0; step /= 2) x += __shfl_xor_sync(0xffffffffU, x, step);
  return x;
}

/// A function and its slope at one place.
struct Tangent {
  float value, slope;
};

inline __device__ float sigmoid(float x) { return __fdividef(1.0F, 1.0F + __expf(-x)); }

inline __device__ Tangent silu_at(float x) {
  const float s = sigmoid(x);
  return {x * s, s * (1.0F + x * (1.0F - s))};
}

inline __device__ Tangent quick_gelu_at(float x) {
  constexpr float kSteepness = 1.702F;
  const float s = sigmoid(kSteepness * x);
  return {x * s, s * (1.0F + kSteepness * x * (1.0F - s))};
}

/// x Phi(x). Abramowitz and Stegun 7.1.26 for the error function (off by 1.5e-7 at most) shares
/// its exponential with the slope Phi(x) + x phi(x).
inline __device__ Tangent gelu_at(float x) {
  constexpr float kRootHalf = 0.70710678118654752F;
  constexpr float kDensity = 0.39894228040143268F;  // 1 / sqrt(2 pi)
  const float bell = __expf(-0.5F * x * x);
  const float t = __fdividef(1.0F, 1.0F + 0.3275911F * kRootHalf * fabsf(x));
  float tail = 1.061405429F;
  tail = tail * t - 1.453152027F;
  tail = tail * t + 1.421413741F;
  tail = tail * t - 0.284496736F;
  tail = tail * t + 0.254829592F;
  tail *= 0.5F * t * bell;  // Phi(-|x|)
  const float phi = x < 0.0F ? tail : 1.0F - tail;
  return {x * phi, phi + x * kDensity * bell};
}

/// Calls make(an element's type, by value) for kBfloat16 or kHalf.
template <class Make>
void with_elements(Type type, const Make& make) {
  if (type == Type::kHalf) {
    make(__half());
  } else {
    make(__nv_bfloat16());
  }
}

}  // namespace mos::nn::kernels::cuda
