#include <type_traits>

#include "mos/nn/kernels/cuda/device.cuh"

namespace mos::nn::kernels::cuda {
namespace {

constexpr int kThreads = 256;
static_assert(kGegluStep == kVector);

template <Pointwise f>
__device__ Tangent tangent_at(float x) {
  if constexpr (f == Pointwise::kSilu) {
    return silu_at(x);
  } else if constexpr (f == Pointwise::kQuickGelu) {
    return quick_gelu_at(x);
  } else {
    return gelu_at(x);
  }
}

/// One vector for each thread.
Grid grid_for(std::int64_t vectors) {
  return {dim3(static_cast<unsigned>((vectors + kThreads - 1) / kThreads)), dim3(kThreads)};
}

__device__ std::int64_t vector_number() {
  return std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
}

template <class T, Pointwise f>
__global__ void __launch_bounds__(kThreads)
    forward_kernel(const T* __restrict__ x, T* __restrict__ y, std::int64_t count) {
  const std::int64_t at = vector_number() * kVector;
  if (at + kVector <= count) {
    const auto values = load<kVector>(x + at);
    float result[kVector];
#pragma unroll
    for (int i = 0; i < kVector; ++i) result[i] = tangent_at<f>(to_float(values.at[i])).value;
    store(y + at, result);
  } else {
    for (std::int64_t i = at; i < count; ++i) {
      round_to(y[i], tangent_at<f>(to_float(x[i])).value);
    }
  }
}

template <class T, Pointwise f>
__global__ void __launch_bounds__(kThreads)
    backward_kernel(const T* __restrict__ x, const T* __restrict__ dy, T* __restrict__ dx,
                    std::int64_t count) {
  const std::int64_t at = vector_number() * kVector;
  if (at + kVector <= count) {
    const auto values = load<kVector>(x + at);
    const auto slopes = load<kVector>(dy + at);
    float result[kVector];
#pragma unroll
    for (int i = 0; i < kVector; ++i) {
      result[i] = to_float(slopes.at[i]) * tangent_at<f>(to_float(values.at[i])).slope;
    }
    store(dx + at, result);
  } else {
    for (std::int64_t i = at; i < count; ++i) {
      round_to(dx[i], to_float(dy[i]) * tangent_at<f>(to_float(x[i])).slope);
    }
  }
}

/// Where the vector of a thread is in x [rows,2 width], the first half; `at` in y.
struct Gate {
  std::int64_t at, value;
  bool inside;

  __device__ Gate(std::int64_t rows, int width) : at(vector_number() * kVector) {
    inside = at < rows * width;
    const std::int64_t row =
        at <= UINT32_MAX ? static_cast<std::uint32_t>(at) / static_cast<std::uint32_t>(width)
                         : at / width;
    value = at + row * width;
  }
};

template <class T>
__global__ void __launch_bounds__(kThreads)
    geglu_kernel(const T* __restrict__ x, T* __restrict__ y, std::int64_t rows, int width) {
  const Gate gate(rows, width);
  if (!gate.inside) return;
  const auto values = load<kVector>(x + gate.value);
  const auto gates = load<kVector>(x + gate.value + width);
  float result[kVector];
#pragma unroll
  for (int i = 0; i < kVector; ++i) {
    result[i] = to_float(values.at[i]) * gelu_at(to_float(gates.at[i])).value;
  }
  store(y + gate.at, result);
}

template <class T>
__global__ void __launch_bounds__(kThreads)
    geglu_backward_kernel(const T* __restrict__ x, const T* __restrict__ dy, T* __restrict__ dx,
                          std::int64_t rows, int width) {
  const Gate gate(rows, width);
  if (!gate.inside) return;
  const auto values = load<kVector>(x + gate.value);
  const auto gates = load<kVector>(x + gate.value + width);
  const auto slopes = load<kVector>(dy + gate.at);
  float value[kVector], slope[kVector];
#pragma unroll
  for (int i = 0; i < kVector; ++i) {
    const Tangent gelu = gelu_at(to_float(gates.at[i]));
    const float d = to_float(slopes.at[i]);
    value[i] = d * gelu.value;
    slope[i] = d * to_float(values.at[i]) * gelu.slope;
  }
  store(dx + gate.value, value);
  store(dx + gate.value + width, slope);
}

/// Calls make(std::integral_constant) of the function.
template <class Make>
void with_function(Pointwise f, const Make& make) {
  switch (f) {
    case Pointwise::kSilu:
      return make(std::integral_constant<Pointwise, Pointwise::kSilu>());
    case Pointwise::kQuickGelu:
      return make(std::integral_constant<Pointwise, Pointwise::kQuickGelu>());
    case Pointwise::kGelu:
      return make(std::integral_constant<Pointwise, Pointwise::kGelu>());
  }
}

}  // namespace

void activate(Pointwise f, Type type, const void* x, void* y, std::int64_t count, Stream stream) {
  const Grid grid = grid_for((count + kVector - 1) / kVector);
  with_elements(type, [&](auto element) {
    using T = decltype(element);
    with_function(f, [&](auto constant) {
      constexpr Pointwise which = decltype(constant)::value;
      launch(forward_kernel<T, which>, grid, stream, static_cast<const T*>(x), static_cast<T*>(y),
             count);
    });
  });
}

void activate_backward(Pointwise f, Type type, const void* x, const void* dy, void* dx,
                       std::int64_t count, Stream stream) {
  const Grid grid = grid_for((count + kVector - 1) / kVector);
  with_elements(type, [&](auto element) {
    using T = decltype(element);
    with_function(f, [&](auto constant) {
      constexpr Pointwise which = decltype(constant)::value;
      launch(backward_kernel<T, which>, grid, stream, static_cast<const T*>(x),
             static_cast<const T*>(dy), static_cast<T*>(dx), count);
    });
  });
}

void geglu(Type type, const void* x, void* y, std::int64_t rows, int width, Stream stream) {
  with_elements(type, [&](auto element) {
    using T = decltype(element);
    launch(geglu_kernel<T>, grid_for(rows * width / kVector), stream, static_cast<const T*>(x),
           static_cast<T*>(y), rows, width);
  });
}

void geglu_backward(Type type, const void* x, const void* dy, void* dx, std::int64_t rows,
                    int width, Stream stream) {
  with_elements(type, [&](auto element) {
    using T = decltype(element);
    launch(geglu_backward_kernel<T>, grid_for(rows * width / kVector), stream,
           static_cast<const T*>(x), static_cast<const T*>(dy), static_cast<T*>(dx), rows, width);
  });
}

}  // namespace mos::nn::kernels::cuda
