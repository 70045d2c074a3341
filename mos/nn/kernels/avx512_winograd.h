#pragma once

#include <cstdint>

/// 3x3 convolutions with padding 1 and stride 1 on bfloat16 (passed as its bits), channels last, in
/// Winograd's form F(2x2, 3x3) (Lavin and Gray, arXiv 1509.09308): 16 multiplications for the four
/// pixels of a tile instead of 36. Transforms and sums are float32; what is multiplied is rounded
/// to bfloat16 once more than in a direct convolution.
/// Channels are multiples of kWinogradChannels. All need avx512_available(), see cpu_features.h.
namespace mos::nn::kernels::avx512 {

inline constexpr int64_t kWinogradChannels = 16;
inline constexpr int64_t kWinogradComponents = 16;  ///< values of a transformed 4x4 patch

/// x [samples,height,width,in] -> y [samples,height,width,out].
struct ConvolutionShape {
  int64_t samples, height, width, in, out;

  int64_t tile_rows() const { return (height + 1) / 2; }
  int64_t tile_columns() const { return (width + 1) / 2; }
  /// Tiles of 2x2 pixels of all samples; they are numbered by sample, row and column.
  int64_t tiles() const { return samples * tile_rows() * tile_columns(); }
  /// The shape of the convolution that takes dy to dx.
  ConvolutionShape reversed() const { return {samples, height, width, out, in}; }
};

struct TileRange {
  int64_t first, last;
  int64_t count() const { return last - first; }
};

/// Transformed kernels, in 32-bit units.
inline int64_t winograd_kernel_size(int64_t in, int64_t out) {
  return kWinogradComponents * in * out / 2;
}
/// From weights [out,in,3,3].
void pack_winograd_kernel(const uint16_t* weight, int64_t in, int64_t out, uint32_t* packed);
/// From the same weights, the kernel of the convolution of dy that yields dx.
void pack_winograd_kernel_reversed(const uint16_t* weight, int64_t in, int64_t out,
                                   uint32_t* packed);

/// What is added to a convolution before its result is rounded; each may be null.
struct ConvolutionSummands {
  const float* bias;         ///< [out]
  const float* per_sample;   ///< [samples,out]
  const uint16_t* residual;  ///< of y's shape
};

/// Tiles that are best computed together: their intermediate values stay in the second-level cache.
int64_t winograd_group(int64_t in, int64_t out);
/// Bytes of scratch memory for that many tiles, to be aligned to 64.
int64_t winograd_workspace(int64_t in, int64_t out);

/// Writes the pixels of at most winograd_group() tiles.
void winograd_convolve(const ConvolutionShape& shape, const uint16_t* x, const uint32_t* kernel,
                       const ConvolutionSummands& summands, const TileRange& tiles, uint16_t* y,
                       void* workspace);

/// The patches of x and the gradients dy of at most winograd_group() tiles, transformed as
/// add_winograd_gradient() reads them: 16 * in * pairs and 16 * out * pairs 32-bit units, pairs =
/// half of the tiles, rounded up.
void winograd_gradient_inputs(const ConvolutionShape& shape, const uint16_t* x, const uint16_t* dy,
                              const TileRange& tiles, uint32_t* patches, uint32_t* gradients);
/// Sets (or adds to) one of the 16 components of the transformed kernel's gradient [out,in].
enum class Accumulation { kSet, kAdd };
void add_winograd_gradient(const ConvolutionShape& shape, int64_t pairs, const uint32_t* patches,
                           const uint32_t* gradients, int64_t component, Accumulation accumulation,
                           float* kernel_gradient);
/// kernel_gradient [16,out,in] -> the gradient of the weights [out,in,3,3].
void unpack_winograd_gradient(const float* kernel_gradient, int64_t in, int64_t out,
                              uint16_t* weight_gradient);

/// Sums of x [rows,channels] over the rows: [channels].
void sum_rows(const uint16_t* x, int64_t rows, int64_t channels, float* sums);

}  // namespace mos::nn::kernels::avx512
