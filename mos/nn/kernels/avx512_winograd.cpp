#include "mos/nn/kernels/avx512_winograd.h"

#if defined(__x86_64__)

#pragma GCC target("avx512f,avx512bw,avx512vl,avx512dq,avx512bf16")

#include "mos/nn/kernels/avx512_winograd_transforms.h"

namespace mos::nn::kernels::avx512 {
namespace {

constexpr int64_t kWorkspaceBytes = 640 << 10;  // of the 1 to 2 MiB of a second-level cache
constexpr int64_t kLargestGroup = 256;

/// Where the weights of 16 kernels and of their neighbours in the summed dimension lie.
struct KernelPlaces {
  const uint16_t* data;
  int64_t lane_stride, depth_stride;
  bool rotated;
};

/// The two bfloat16 of each lane.
inline __m512 low_half(__m512i two) { return _mm512_castsi512_ps(_mm512_slli_epi32(two, 16)); }
inline __m512 high_half(__m512i two) {
  return _mm512_castsi512_ps(_mm512_and_si512(two, _mm512_set1_epi32(-65536)));
}

/// The nine weights of each of 16 kernels. A gather reads two neighbours at once.
inline void gather_kernels(const KernelPlaces& places, int64_t depth, __m512 (&g)[9]) {
  const __m512i lane =
      _mm512_mullo_epi32(_mm512_set1_epi32(static_cast<int>(places.lane_stride)),
                         _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15));
  const uint16_t* const base = places.data + depth * places.depth_stride;
  __m512 in_order[9];
  for (int k = 0; k < 8; k += 2) {
    const __m512i two = _mm512_i32gather_epi32(lane, base + k, 2);
    in_order[k] = low_half(two);
    in_order[k + 1] = high_half(two);
  }
  in_order[8] = high_half(_mm512_i32gather_epi32(lane, base + 7, 2));
  for (int k = 0; k < 9; ++k) g[k] = in_order[places.rotated ? 8 - k : k];
}

/// packed [component][panel of 16 lanes][pair along the depth][16].
void pack(const KernelPlaces& places, int64_t lanes_wide, int64_t depth, uint32_t* packed) {
  const int64_t pairs = depth / 2, component_stride = lanes_wide * pairs;
  for (int64_t panel = 0; panel < lanes_wide / kLanes; ++panel) {
    KernelPlaces here = places;
    here.data += panel * kLanes * places.lane_stride;
    for (int64_t pair = 0; pair < pairs; ++pair) {
      __m512 g[9], even[16], odd[16];
      gather_kernels(here, 2 * pair, g);
      transform_kernel(g, even);
      gather_kernels(here, 2 * pair + 1, g);
      transform_kernel(g, odd);
      uint32_t* const at = packed + (panel * pairs + pair) * kLanes;
      for (int64_t component = 0; component < kWinogradComponents; ++component) {
        _mm512_storeu_si512(at + component * component_stride,
                            paired(even[component], odd[component]));
      }
    }
  }
}

int64_t padded_group(int64_t tiles) { return round_up(tiles, kRowMultiple); }

}  // namespace

void pack_winograd_kernel(const uint16_t* weight, int64_t in, int64_t out, uint32_t* packed) {
  pack({weight, 9 * in, 9, /*rotated=*/false}, out, in, packed);
}

void pack_winograd_kernel_reversed(const uint16_t* weight, int64_t in, int64_t out,
                                   uint32_t* packed) {
  pack({weight, 9, 9 * in, /*rotated=*/true}, in, out, packed);
}

int64_t winograd_group(int64_t in, int64_t out) {
  const int64_t bytes = kWinogradComponents * (2 * in + 4 * out);
  const int64_t tiles = kWorkspaceBytes / bytes / kRowMultiple * kRowMultiple;
  return tiles < kRowMultiple ? kRowMultiple : (tiles > kLargestGroup ? kLargestGroup : tiles);
}

int64_t winograd_workspace(int64_t in, int64_t out) {
  return kWinogradComponents * winograd_group(in, out) * (2 * in + 4 * out);
}

void winograd_convolve(const ConvolutionShape& shape, const uint16_t* x, const uint32_t* kernel,
                       const ConvolutionSummands& summands, const TileRange& tiles, uint16_t* y,
                       void* workspace) {
  const int64_t rows = padded_group(tiles.count());
  auto* const products = static_cast<float*>(workspace);
  auto* const patches =
      reinterpret_cast<uint16_t*>(products + kWinogradComponents * rows * shape.out);
  TileRows target{patches, rows * shape.in, shape.in};
  for_each_span(shape, tiles, [&](const Span& span) { transform_patches(shape, x, span, target); });
  const int64_t pairs = shape.in / 2;
  for (int64_t component = 0; component < kWinogradComponents; ++component) {
    const auto* const left = reinterpret_cast<uint32_t*>(patches + component * rows * shape.in);
    multiply({left, pairs, 1}, {kernel + component * shape.out * pairs, pairs * kLanes}, rows,
             shape.out / kLanes, pairs, {products + component * rows * shape.out, shape.out},
             /*accumulate=*/false);
  }
  for_each_span(shape, tiles, [&](const Span& span) {
    transform_products(shape, products, rows * shape.out, summands, span, y);
  });
}

void winograd_gradient_inputs(const ConvolutionShape& shape, const uint16_t* x, const uint16_t* dy,
                              const TileRange& tiles, uint32_t* patches, uint32_t* gradients) {
  const int64_t pairs = (tiles.count() + 1) / 2;
  TilePairs right{patches, pairs * shape.in, kLanes, pairs * kLanes};
  TilePairs left{gradients, pairs * shape.out, shape.out, kLanes};
  for_each_span(shape, tiles, [&](const Span& span) {
    transform_patches(shape, x, span, right);
    transform_gradients(shape, dy, span, left);
  });
}

void add_winograd_gradient(const ConvolutionShape& shape, int64_t pairs, const uint32_t* patches,
                           const uint32_t* gradients, int64_t component, Accumulation accumulation,
                           float* kernel_gradient) {
  multiply({gradients + component * pairs * shape.out, 1, shape.out},
           {patches + component * pairs * shape.in, pairs * kLanes}, shape.out, shape.in / kLanes,
           pairs, {kernel_gradient + component * shape.out * shape.in, shape.in},
           accumulation == Accumulation::kAdd);
}

void unpack_winograd_gradient(const float* kernel_gradient, int64_t in, int64_t out,
                              uint16_t* weight_gradient) {
  for (int64_t at = 0; at < in * out; at += kLanes) {
    __m512 u[16], g[9];
    for (int64_t component = 0; component < kWinogradComponents; ++component) {
      u[component] = _mm512_loadu_ps(kernel_gradient + component * in * out + at);
    }
    transform_kernel_gradient(u, g);
    uint16_t values[9][kLanes];
    for (int64_t k = 0; k < 9; ++k) store(values[k], kAllLanes, g[k]);
    for (int64_t lane = 0; lane < kLanes; ++lane) {
      for (int64_t k = 0; k < 9; ++k) weight_gradient[(at + lane) * 9 + k] = values[k][lane];
    }
  }
}

void sum_rows(const uint16_t* x, int64_t rows, int64_t channels, float* sums) {
  for (int64_t channel = 0; channel < channels; channel += kLanes) {
    const __mmask16 mask = lanes(channels - channel);
    __m512 total = _mm512_setzero_ps();
    for (int64_t row = 0; row < rows; ++row) {
      total = add(total, load(x + row * channels + channel, mask));
    }
    store(sums + channel, mask, total);
  }
}

}  // namespace mos::nn::kernels::avx512

#endif  // __x86_64__
