#include "mos/nn/kernels/rows.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <cstddef>

namespace mos::nn::kernels {
namespace {

/// Calls make(sample, i) for the rows of `result` [B,n,C], on all threads where that pays.
template <class Make>
void each_row(const torch::Tensor& result, const Make& make) {
  constexpr int64_t kGrain = 1 << 15;
  const int64_t count = result.size(1);
  at::parallel_for(0, result.size(0) * count, kGrain / (result.size(2) + 1) + 1,
                   [&](int64_t begin, int64_t end) {
                     for (int64_t i = begin; i < end; ++i) make(i / count, i % count);
                   });
}

/// Where a row of a contiguous [B,N,C] is, in units of its width; a wrong number must not get
/// there.
int64_t place_of(const torch::Tensor& x, int64_t sample, int64_t row) {
  TORCH_CHECK_INDEX(row >= 0 && row < x.size(1), "row ", row, " of ", x.size(1));
  return sample * x.size(1) + row;
}

template <class T>
torch::Tensor add_rows_of(const torch::Tensor& x, const torch::Tensor& rows,
                          const torch::Tensor& weights) {
  const int64_t count = rows.size(1), width = x.size(2);
  const auto result = at::zeros({x.size(0), count, width}, x.options());
  const auto* from = x.data_ptr<T>();
  auto* to = result.data_ptr<T>();
  const auto* row = rows.data_ptr<int64_t>();
  const auto* weight = weights.data_ptr<float>();
  each_row(result, [=, &x](int64_t sample, int64_t i) {
    auto* sum = to + (sample * count + i) * width;
    for (int64_t k = i; k < rows.numel(); k += count) {
      if (weight[k] == 0.0F) continue;
      const auto* one = from + place_of(x, sample, row[k]) * width;
      for (int64_t c = 0; c < width; ++c) {
        sum[c] =
            static_cast<T>(static_cast<float>(sum[c]) + weight[k] * static_cast<float>(one[c]));
      }
    }
  });
  return result;
}

}  // namespace

torch::Tensor copy_rows(const torch::Tensor& x, const torch::Tensor& rows) {
  const auto result = at::empty({x.size(0), rows.numel(), x.size(2)}, x.options());
  const auto bytes = static_cast<int64_t>(x.element_size()) * x.size(2);
  const auto* from = static_cast<const std::byte*>(x.data_ptr());
  auto* to = static_cast<std::byte*>(result.data_ptr());
  const auto* row = rows.data_ptr<int64_t>();
  each_row(result, [=, &x, count = rows.numel()](int64_t sample, int64_t i) {
    std::copy_n(from + place_of(x, sample, row[i]) * bytes, bytes,
                to + (sample * count + i) * bytes);
  });
  return result;
}

torch::Tensor add_rows(const torch::Tensor& x, const torch::Tensor& rows,
                       const torch::Tensor& weights) {
  return x.scalar_type() == at::kFloat ? add_rows_of<float>(x, rows, weights)
                                       : add_rows_of<at::BFloat16>(x, rows, weights);
}

}  // namespace mos::nn::kernels
