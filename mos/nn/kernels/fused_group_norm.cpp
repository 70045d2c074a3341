#if defined(__x86_64__)

#include <ATen/Parallel.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <cmath>

#include "mos/nn/kernels/avx512_norm.h"
#include "mos/nn/kernels/bf16.h"
#include "mos/nn/kernels/fused.h"

namespace mos::nn::kernels::fused {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::tensor_list;

/// Positions of one sample whose sums are taken together. It depends on nothing else, so results
/// are the same for any number of threads.
constexpr int64_t kSlice = 1024;
/// Elements that make a task worth its hand-over to another thread.
constexpr int64_t kGrain = 32768;

/// x [B,C,positions] in one of its two dense layouts, and its groups of channels.
struct Layout {
  int64_t batch, channels, positions, groups;
  bool channels_last;

  Layout(const torch::Tensor& x, int64_t group_count)
      : batch(x.size(0)),
        channels(x.size(1)),
        positions(x.numel() / (batch * channels)),
        groups(group_count),
        channels_last(!x.is_contiguous()) {}

  int64_t group_channels() const { return channels / groups; }
  double group_size() const { return static_cast<double>(group_channels() * positions); }
  int64_t slices() const { return channels_last ? (positions + kSlice - 1) / kSlice : 1; }
};

/// Runs `rows(piece, sample, first element, rows)` over slices of positions or
/// `channel(sample and channel, first element)` over whole channels, whichever the layout has.
template <class Rows, class Channel>
void for_each_piece(const Layout& layout, const Rows& rows, const Channel& channel) {
  if (layout.channels_last) {
    const int64_t grain = kGrain / (std::min(kSlice, layout.positions) * layout.channels) + 1;
    at::parallel_for(0, layout.batch * layout.slices(), grain, [&](int64_t begin, int64_t end) {
      for (int64_t piece = begin; piece < end; ++piece) {
        const int64_t sample = piece / layout.slices();
        const int64_t position = piece % layout.slices() * kSlice;
        rows(piece, sample, (sample * layout.positions + position) * layout.channels,
             std::min(kSlice, layout.positions - position));
      }
    });
    return;
  }
  const int64_t grain = kGrain / layout.positions + 1;
  at::parallel_for(0, layout.batch * layout.channels, grain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) channel(i, i * layout.positions);
  });
}

/// Two float32 values for each of `rows` rows of channels or groups: [2,rows,width].
struct Pair {
  torch::Tensor tensor;
  float* first;
  float* second;

  explicit Pair(torch::Tensor values)
      : tensor(std::move(values)),
        first(tensor.data_ptr<float>()),
        second(first + tensor.numel() / 2) {}
};

Pair empty_pair(int64_t rows, int64_t width) {
  return Pair(at::empty({2, rows, width}, at::kFloat));
}
Pair zero_pair(int64_t rows, int64_t width) {
  return Pair(at::zeros({2, rows, width}, at::kFloat));
}

/// One value of each channel averaged over the group, [batch,channels]: near enough to the group's
/// mean that squared deviations from it lose nothing to cancellation.
torch::Tensor rough_means(const torch::Tensor& x, const Layout& layout) {
  const torch::Tensor centers = at::empty({layout.batch, layout.channels}, at::kFloat);
  float* const center = centers.data_ptr<float>();
  const int64_t stride = layout.channels_last ? 1 : layout.positions;
  const int64_t width = layout.group_channels();
  for (int64_t i = 0; i < layout.batch * layout.channels; i += width) {
    const int64_t sample = i / layout.channels;
    const uint16_t* first = bits(x) + sample * layout.channels * layout.positions +
                            (i - sample * layout.channels) * stride;
    float sum = 0;
    for (int64_t c = 0; c < width; ++c) sum += to_float(first[c * stride]);
    std::fill_n(center + i, width, sum / static_cast<float>(width));
  }
  return centers;
}

/// Sums over positions, per piece: of x - center and its square.
Pair moments(const torch::Tensor& x, const Layout& layout, const float* center) {
  Pair sums = zero_pair(layout.batch * layout.slices(), layout.channels);
  for_each_piece(
      layout,
      [&](int64_t piece, int64_t sample, int64_t first, int64_t rows) {
        const int64_t at = piece * layout.channels;
        avx512::moments_rows(bits(x) + first, rows, layout.channels,
                             center + sample * layout.channels, sums.first + at, sums.second + at);
      },
      [&](int64_t channel, int64_t first) {
        avx512::moments_channel(bits(x) + first, layout.positions, center[channel],
                                sums.first + channel, sums.second + channel);
      });
  return sums;
}

/// Mean and 1/standard deviation of each group, [2,batch,groups].
Pair statistics_of(const torch::Tensor& x, const Layout& layout, double eps) {
  const torch::Tensor centers = rough_means(x, layout);
  const float* const center = centers.data_ptr<float>();
  const Pair sums = moments(x, layout, center);
  Pair statistics = empty_pair(layout.batch, layout.groups);
  const int64_t width = layout.group_channels();
  for (int64_t i = 0; i < layout.batch * layout.groups; ++i) {
    const int64_t sample = i / layout.groups;
    const int64_t channel = i % layout.groups * width;
    double sum = 0;
    double square = 0;
    for (int64_t slice = 0; slice < layout.slices(); ++slice) {
      const int64_t row = (sample * layout.slices() + slice) * layout.channels + channel;
      for (int64_t c = row; c < row + width; ++c) {
        sum += static_cast<double>(sums.first[c]);
        square += static_cast<double>(sums.second[c]);
      }
    }
    const double deviation = sum / layout.group_size();
    const double variance = std::max(square / layout.group_size() - deviation * deviation, 0.0);
    const double middle = static_cast<double>(center[sample * layout.channels + channel]);
    statistics.first[i] = static_cast<float>(middle + deviation);
    statistics.second[i] = static_cast<float>(1.0 / std::sqrt(variance + eps));
  }
  return statistics;
}

/// Scale and shift of each channel, [2,batch,channels]: y = act(scale x + shift).
Pair affine_of(const Layout& layout, const Pair& statistics, const torch::Tensor& weight,
               const torch::Tensor& bias) {
  Pair affine = empty_pair(layout.batch, layout.channels);
  const int64_t width = layout.group_channels();
  for (int64_t i = 0; i < layout.batch * layout.channels; ++i) {
    const int64_t channel = i % layout.channels;
    const float scale = statistics.second[i / width] * weight.data_ptr<float>()[channel];
    affine.first[i] = scale;
    affine.second[i] = bias.data_ptr<float>()[channel] - statistics.first[i / width] * scale;
  }
  return affine;
}

avx512::GroupNormMap map_at(const Pair& affine, bool silu, int64_t channel) {
  return {affine.first + channel, affine.second + channel, silu};
}

/// What the backward pass shares between its steps; dz is dy before the activation.
struct Backward {
  Layout layout;
  const torch::Tensor &x, &dy, &weight;
  Pair statistics, affine;
  bool silu;

  /// The sums over positions of dz and of dz xhat, [2,batch,channels], xhat = (x - mean) rstd.
  Pair sums() const;
  torch::Tensor input_gradient(const Pair& sums) const;

 private:
  /// dx = scale dz + slope x + offset, [2,batch,channels].
  Pair slope_and_offset(const Pair& sums) const;
};

Pair Backward::sums() const {
  const int64_t width = layout.group_channels();
  const torch::Tensor means =
      statistics.tensor[0].repeat_interleave(width, 1).contiguous();  // [batch,channels]
  const float* const mean = means.data_ptr<float>();
  Pair pieces = zero_pair(layout.batch * layout.slices(), layout.channels);
  for_each_piece(
      layout,
      [&](int64_t piece, int64_t sample, int64_t first, int64_t rows) {
        const int64_t from = sample * layout.channels;
        const int64_t to = piece * layout.channels;
        avx512::grad_moments_rows(map_at(affine, silu, from), bits(x) + first, bits(dy) + first,
                                  rows, layout.channels, mean + from, pieces.first + to,
                                  pieces.second + to);
      },
      [&](int64_t channel, int64_t first) {
        avx512::grad_moments_channel(map_at(affine, silu, channel), bits(x) + first,
                                     bits(dy) + first, layout.positions, mean[channel],
                                     pieces.first + channel, pieces.second + channel);
      });
  Pair total = layout.slices() == 1
                   ? pieces
                   : Pair(pieces.tensor.view({2, layout.batch, layout.slices(), -1}).sum(2));
  for (int64_t i = 0; i < layout.batch * layout.channels; ++i) {
    total.second[i] *= statistics.second[i / width];
  }
  return total;
}

/// With g = weight: dx = rstd (g dz - mean(g dz) - xhat mean(g dz xhat)), means over the group.
Pair Backward::slope_and_offset(const Pair& sums) const {
  Pair result = empty_pair(layout.batch, layout.channels);
  const int64_t width = layout.group_channels();
  const float* const gain = weight.data_ptr<float>();
  for (int64_t i = 0; i < layout.batch * layout.groups; ++i) {
    double mean_dz = 0;
    double mean_dz_xhat = 0;
    for (int64_t c = i * width; c < (i + 1) * width; ++c) {
      const double g = static_cast<double>(gain[c % layout.channels]);
      mean_dz += g * static_cast<double>(sums.first[c]);
      mean_dz_xhat += g * static_cast<double>(sums.second[c]);
    }
    const double rstd = static_cast<double>(statistics.second[i]);
    const double slope = -rstd * rstd * mean_dz_xhat / layout.group_size();
    const double offset =
        -rstd * mean_dz / layout.group_size() - slope * static_cast<double>(statistics.first[i]);
    std::fill_n(result.first + i * width, width, static_cast<float>(slope));
    std::fill_n(result.second + i * width, width, static_cast<float>(offset));
  }
  return result;
}

torch::Tensor Backward::input_gradient(const Pair& sums) const {
  const Pair linear = slope_and_offset(sums);
  const torch::Tensor dx = at::empty_like(x);
  const auto map = [&](int64_t channel) {
    return avx512::GroupNormGradMap{map_at(affine, silu, channel), linear.first + channel,
                                    linear.second + channel};
  };
  for_each_piece(
      layout,
      [&](int64_t, int64_t sample, int64_t first, int64_t rows) {
        avx512::group_norm_backward_rows(map(sample * layout.channels), bits(x) + first,
                                         bits(dy) + first, rows, layout.channels, bits(dx) + first);
      },
      [&](int64_t channel, int64_t first) {
        avx512::group_norm_backward_channel(map(channel), bits(x) + first, bits(dy) + first,
                                            layout.positions, bits(dx) + first);
      });
  return dx;
}

class GroupNormFunction : public torch::autograd::Function<GroupNormFunction> {
 public:
  static torch::Tensor forward(AutogradContext* context, const torch::Tensor& input,
                               const torch::Tensor& weight, const torch::Tensor& bias,
                               int64_t groups, double eps, bool silu) {
    const torch::Tensor x = input.contiguous(input.suggest_memory_format());
    const Layout layout(x, groups);
    const Pair statistics = statistics_of(x, layout, eps);
    const Pair affine = affine_of(layout, statistics, weight, bias);
    const torch::Tensor y = at::empty_like(x);
    for_each_piece(
        layout,
        [&](int64_t, int64_t sample, int64_t first, int64_t rows) {
          avx512::group_norm_rows(map_at(affine, silu, sample * layout.channels), bits(x) + first,
                                  rows, layout.channels, bits(y) + first);
        },
        [&](int64_t channel, int64_t first) {
          avx512::group_norm_channel(map_at(affine, silu, channel), bits(x) + first,
                                     layout.positions, bits(y) + first);
        });
    context->save_for_backward({x, weight, statistics.tensor, affine.tensor});
    context->saved_data["silu"] = silu;
    return y;
  }

  static tensor_list backward(AutogradContext* context, const tensor_list& grads) {
    const auto saved = context->get_saved_variables();
    const torch::Tensor& x = saved[0];
    const torch::Tensor dy = laid_out_like(grads[0], x);
    const Pair statistics(saved[2]);
    const Backward pass{
        Layout(x, statistics.tensor.size(2)), x, dy, saved[1], statistics, Pair(saved[3]),
        context->saved_data["silu"].toBool()};
    const Pair sums = pass.sums();
    return {pass.input_gradient(sums), sums.tensor[1].sum(0), sums.tensor[0].sum(0), {}, {}, {}};
  }
};

}  // namespace

torch::Tensor group_norm(const torch::Tensor& x, int64_t groups, const torch::Tensor& weight,
                         const torch::Tensor& bias, double eps, Activation activation) {
  return GroupNormFunction::apply(x, wide(weight), wide(bias), groups, eps,
                                  activation == Activation::kSilu);
}

}  // namespace mos::nn::kernels::fused

#endif  // __x86_64__
