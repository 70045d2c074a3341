#pragma once

#include "mos/nn/kernels/cuda/launches.h"

/// group_norm and group_norm_backward of one layout each.
namespace mos::nn::kernels::cuda {

/// [batch,positions,channels].
namespace rows {
bool covers(const GroupNorm& norm);
std::size_t scratch_size(const GroupNorm& norm);
void group_norm(const GroupNorm& norm, const void* x, void* y, float* statistics, float* scratch,
                Stream stream);
void group_norm_backward(const GroupNorm& norm, const void* x, const void* dy,
                         const float* statistics, void* dx, float* sums, float* scratch,
                         Stream stream);
}  // namespace rows

/// [batch,channels,positions].
namespace planes {
bool covers(const GroupNorm& norm);
void group_norm(const GroupNorm& norm, const void* x, void* y, float* statistics, Stream stream);
void group_norm_backward(const GroupNorm& norm, const void* x, const void* dy,
                         const float* statistics, void* dx, float* sums, Stream stream);
}  // namespace planes

/// The sums over `rows` of from [batch,rows,2,width]: to [batch,2,width].
void add_up_each(const float* from, int batch, int rows, int width, float* to, Stream stream);

}  // namespace mos::nn::kernels::cuda
