#pragma once

#include <cstdint>

/// Pieces of layer and group normalisation on bfloat16 (passed as its bits), float32 inside.
/// They need avx512_available(), see cpu_features.h; callers split the work over threads.
///
/// Group normalisation is y = act(scale x + shift) with one scale and one shift a channel, so it
/// takes three steps: moments per channel, a tiny reduction to scale and shift by the caller, and
/// the map. The backward pass has the same form. Each step has two versions for the two layouts:
/// `..._rows` takes `rows` rows of all channels (channels last), `..._channel` takes `count`
/// values of one channel (contiguous).
namespace mos::nn::kernels::avx512 {

/// x, y [rows,width]; weight, bias [width]; writes mean and rstd [rows].
struct LayerNorm {
  int64_t width;
  float eps;
  const float* weight;
  const float* bias;
};
void layer_norm(const LayerNorm& norm, const uint16_t* x, int64_t rows, uint16_t* y, float* mean,
                float* rstd);

/// Writes dx [rows,width] and adds to weight_grad and bias_grad [width] unless these are null.
void layer_norm_backward(const LayerNorm& norm, const uint16_t* x, const uint16_t* dy,
                         const float* mean, const float* rstd, int64_t rows, uint16_t* dx,
                         float* weight_grad, float* bias_grad);

/// Adds the sums of (x - center) and (x - center)^2 over the rows to `sum` and `square` [channels].
/// A center near the mean [channels] keeps the variance free of cancellation.
void moments_rows(const uint16_t* x, int64_t rows, int64_t channels, const float* center,
                  float* sum, float* square);
void moments_channel(const uint16_t* x, int64_t count, float center, float* sum, float* square);

/// Per-channel coefficients, [channels] for `_rows` and single values for `_channel`.
struct GroupNormMap {
  const float* scale;
  const float* shift;
  bool silu;
};
/// y = act(scale x + shift).
void group_norm_rows(const GroupNormMap& map, const uint16_t* x, int64_t rows, int64_t channels,
                     uint16_t* y);
void group_norm_channel(const GroupNormMap& map, const uint16_t* x, int64_t count, uint16_t* y);

/// With dz = act'(scale x + shift) dy, adds the sums of dz and of dz (x - center).
void grad_moments_rows(const GroupNormMap& map, const uint16_t* x, const uint16_t* dy, int64_t rows,
                       int64_t channels, const float* center, float* sum, float* product);
void grad_moments_channel(const GroupNormMap& map, const uint16_t* x, const uint16_t* dy,
                          int64_t count, float center, float* sum, float* product);

/// dx = scale dz + slope x + offset.
struct GroupNormGradMap {
  GroupNormMap forward;
  const float* slope;
  const float* offset;
};
void group_norm_backward_rows(const GroupNormGradMap& map, const uint16_t* x, const uint16_t* dy,
                              int64_t rows, int64_t channels, uint16_t* dx);
void group_norm_backward_channel(const GroupNormGradMap& map, const uint16_t* x, const uint16_t* dy,
                                 int64_t count, uint16_t* dx);

}  // namespace mos::nn::kernels::avx512
