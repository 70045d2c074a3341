#include <fmt/core.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "mos/nn/kernels/attention_kernels.h"
#include "mos/nn/kernels/avx512_activation.h"
#include "mos/nn/kernels/avx512_norm.h"
#include "mos/nn/kernels/avx512_winograd.h"
#include "mos/nn/kernels/cpu_features.h"
#include "tests/nn/compare.h"
#include "tests/nn/framed.h"

#if defined(__x86_64__)

// The ways back of the fused operators, piece by piece as kernels_test.cpp has the ways there:
// against LibTorch's automatic gradients of the definitions in float64.

namespace mos::nn::kernels {
namespace {

using test::Framed;
using test::kRoundedOnce;
using test::random_bf16;

class KernelGradients : public test::KernelTest {};

Tensor exact_leaf(const Tensor& x) { return x.to(at::kDouble).requires_grad_(true); }

TEST_F(KernelGradients, OfGegluForAnyWidth) {
  for (const int64_t width : {1, 16, 37}) {
    const int64_t rows = 3;
    const Tensor x = random_bf16({rows, 2 * width}), dy = random_bf16({rows, width});
    Framed in(x), gradient(dy), out(x.numel());
    avx512::geglu_backward(in.data(), gradient.data(), out.data(), rows, width);
    const Tensor exact = exact_leaf(x);
    const Tensor gate = exact.narrow(1, width, width);
    (exact.narrow(1, 0, width) * gate * 0.5 * (1.0 + at::erf(gate / std::sqrt(2.0))))
        .backward(dy.to(at::kDouble));
    EXPECT_LT(relative_error(out.values().view(x.sizes()), exact.grad()), kRoundedOnce) << width;
    EXPECT_TRUE(out.is_whole()) << width;
  }
}

TEST_F(KernelGradients, OfLayerNormAreAddedForWeightsThatAreTrained) {
  for (const int64_t width : {1, 7, 16, 100}) {
    for (const bool trained : {false, true}) {
      const int64_t rows = 5;
      const Tensor x = (at::randn({rows, width}) * 2 + 1).to(at::kBFloat16);
      const Tensor dy = random_bf16({rows, width});
      const Tensor weight = at::randn({width}), bias = at::randn({width});
      const Tensor mean = at::empty({rows}), rstd = at::empty({rows});
      const Tensor weight_sums = at::ones({width}), bias_sums = at::ones({width});
      Framed in(x), gradient(dy), y(x.numel()), dx(x.numel());
      const avx512::LayerNorm norm{width, 1e-3F, weight.data_ptr<float>(), bias.data_ptr<float>()};
      avx512::layer_norm(norm, in.data(), rows, y.data(), mean.data_ptr<float>(),
                         rstd.data_ptr<float>());
      avx512::layer_norm_backward(norm, in.data(), gradient.data(), mean.data_ptr<float>(),
                                  rstd.data_ptr<float>(), rows, dx.data(),
                                  trained ? weight_sums.data_ptr<float>() : nullptr,
                                  trained ? bias_sums.data_ptr<float>() : nullptr);
      const Tensor exact = exact_leaf(x), w = exact_leaf(weight), b = exact_leaf(bias);
      at::layer_norm(exact, {width}, w, b, 1e-3).backward(dy.to(at::kDouble));
      if (width > 1) {  // of one number the deviation is zero and so is its gradient
        EXPECT_LT(relative_error(dx.values().view(x.sizes()), exact.grad()), kRoundedOnce) << width;
      }
      EXPECT_TRUE(dx.is_whole()) << width;
      const Tensor added = trained ? w.grad() + 1.0 : at::ones({width}, at::kDouble);
      EXPECT_LT(relative_error(weight_sums, added), 1e-4) << width;
      EXPECT_LT(relative_error(bias_sums, trained ? b.grad() + 1.0 : at::ones({width})), 1e-5)
          << width;
    }
  }
}

struct MapCase {
  bool silu;
  int64_t rows, channels;
};

/// act(scale x + shift) in float64.
Tensor exact_map(const Tensor& x, const Tensor& scale, const Tensor& shift, bool silu) {
  const Tensor z = x * scale.to(at::kDouble) + shift.to(at::kDouble);
  return silu ? z * at::sigmoid(z) : z;
}

class GroupNormPieces : public test::KernelTest, public testing::WithParamInterface<MapCase> {
 protected:
  void SetUp() override {
    test::KernelTest::SetUp();
    if (IsSkipped()) return;
    const auto& [silu, rows, channels] = GetParam();
    x_ = random_bf16({rows, channels});
    dy_ = random_bf16({rows, channels});
    scale_ = at::randn({channels});
    shift_ = at::randn({channels});
    map_ = {scale_.data_ptr<float>(), shift_.data_ptr<float>(), silu};
  }

  /// dz = act'(z) dy with z = scale x + shift.
  Tensor exact_dz() const {
    const Tensor z =
        (x_.to(at::kDouble) * scale_.to(at::kDouble) + shift_.to(at::kDouble)).requires_grad_(true);
    (GetParam().silu ? z * at::sigmoid(z) : z * 1.0).backward(dy_.to(at::kDouble));
    return z.grad();
  }

  Tensor x_, dy_, scale_, shift_;
  avx512::GroupNormMap map_{};
};

TEST_P(GroupNormPieces, TheMapIsOneForBothLayouts) {
  const auto& [silu, rows, channels] = GetParam();
  const Tensor exact = exact_map(x_.to(at::kDouble), scale_, shift_, silu);
  Framed in(x_), out(x_.numel());
  avx512::group_norm_rows(map_, in.data(), rows, channels, out.data());
  EXPECT_LT(relative_error(out.values().view(x_.sizes()), exact), kRoundedOnce);
  EXPECT_TRUE(out.is_whole());
  for (int64_t channel = 0; channel < channels; channel += 5) {
    Framed column(x_.select(1, channel).contiguous()), mapped(rows);
    avx512::group_norm_channel({map_.scale + channel, map_.shift + channel, silu}, column.data(),
                               rows, mapped.data());
    EXPECT_TRUE(at::equal(mapped.values(), out.values().view(x_.sizes()).select(1, channel)));
    EXPECT_TRUE(mapped.is_whole());
  }
}

TEST_P(GroupNormPieces, TheSumsOfGradientsAreAdded) {
  const auto& [silu, rows, channels] = GetParam();
  const Tensor dz = exact_dz(), centre = at::full({channels}, 0.25F);
  const Tensor sum = at::ones({channels}), product = at::ones({channels});
  Framed in(x_), gradient(dy_);
  avx512::grad_moments_rows(map_, in.data(), gradient.data(), rows, channels,
                            centre.data_ptr<float>(), sum.data_ptr<float>(),
                            product.data_ptr<float>());
  EXPECT_LT(relative_error(sum, dz.sum(0) + 1.0), 1e-4);
  EXPECT_LT(relative_error(product, (dz * (x_.to(at::kDouble) - 0.25)).sum(0) + 1.0), 1e-4);
  for (int64_t channel = 0; channel < channels; channel += 5) {
    Framed column(x_.select(1, channel).contiguous()), dy(dy_.select(1, channel).contiguous());
    float one_sum = 1.0F, one_product = 1.0F;
    avx512::grad_moments_channel({map_.scale + channel, map_.shift + channel, silu}, column.data(),
                                 dy.data(), rows, 0.25F, &one_sum, &one_product);
    EXPECT_NEAR(one_sum, sum[channel].item<float>(), 1e-4);
    EXPECT_NEAR(one_product, product[channel].item<float>(), 1e-4);
  }
}

TEST_P(GroupNormPieces, TheWayBackIsLinearInWhatItIsGiven) {
  const auto& [silu, rows, channels] = GetParam();
  const Tensor slope = at::randn({channels}), offset = at::randn({channels});
  const Tensor exact = exact_dz() * scale_.to(at::kDouble) +
                       x_.to(at::kDouble) * slope.to(at::kDouble) + offset.to(at::kDouble);
  Framed in(x_), gradient(dy_), out(x_.numel());
  avx512::group_norm_backward_rows({map_, slope.data_ptr<float>(), offset.data_ptr<float>()},
                                   in.data(), gradient.data(), rows, channels, out.data());
  EXPECT_LT(relative_error(out.values().view(x_.sizes()), exact), kRoundedOnce);
  EXPECT_TRUE(out.is_whole());
  for (int64_t channel = 0; channel < channels; channel += 5) {
    Framed column(x_.select(1, channel).contiguous()), dy(dy_.select(1, channel).contiguous());
    Framed dx(rows);
    avx512::group_norm_backward_channel({{map_.scale + channel, map_.shift + channel, silu},
                                         slope.data_ptr<float>() + channel,
                                         offset.data_ptr<float>() + channel},
                                        column.data(), dy.data(), rows, dx.data());
    EXPECT_LT(relative_error(dx.values(), exact.select(1, channel)), kRoundedOnce);
    EXPECT_TRUE(dx.is_whole());
  }
}

INSTANTIATE_TEST_SUITE_P(RowsAndChannels, GroupNormPieces,
                         testing::Values(MapCase{false, 1, 1}, MapCase{true, 3, 16},
                                         MapCase{true, 19, 21}, MapCase{false, 64, 48}));

TEST_F(KernelGradients, OfConvolutionsInPiecesAreThoseOfTheWhole) {
  const avx512::ConvolutionShape shape{2, 5, 7, 16, 32};
  const Tensor x = random_bf16({2, 5, 7, 16}), dy = random_bf16({2, 5, 7, 32});
  const auto gradient = [&](int64_t group) {
    const Tensor sums = at::empty({avx512::kWinogradComponents * 16 * 32}, at::kFloat);
    const Tensor patches =
        at::empty({avx512::kWinogradComponents * 16 * (group + 1) / 2}, at::kInt);
    const Tensor transformed =
        at::empty({avx512::kWinogradComponents * 32 * (group + 1) / 2}, at::kInt);
    Framed in(x), out(dy);
    for (int64_t first = 0; first < shape.tiles(); first += group) {
      const avx512::TileRange tiles{first, std::min(first + group, shape.tiles())};
      avx512::winograd_gradient_inputs(shape, in.data(), out.data(), tiles, words(patches),
                                       words(transformed));
      for (int64_t i = 0; i < avx512::kWinogradComponents; ++i) {
        avx512::add_winograd_gradient(
            shape, (tiles.count() + 1) / 2, words(patches), words(transformed), i,
            first == 0 ? avx512::Accumulation::kSet : avx512::Accumulation::kAdd,
            sums.data_ptr<float>());
      }
    }
    Framed weight(32 * 16 * 9);
    avx512::unpack_winograd_gradient(sums.data_ptr<float>(), 16, 32, weight.data());
    EXPECT_TRUE(weight.is_whole());
    return weight.values().clone().view({32, 16, 3, 3});
  };
  const Tensor weight = at::zeros({32, 16, 3, 3}, at::kDouble).requires_grad_(true);
  at::conv2d(x.permute({0, 3, 1, 2}).to(at::kDouble), weight, {}, 1, 1)
      .backward(dy.permute({0, 3, 1, 2}).to(at::kDouble));
  EXPECT_LT(relative_error(gradient(shape.tiles()), weight.grad()), 2 * kRoundedOnce);
  EXPECT_LT(relative_error(gradient(6), weight.grad()), 2 * kRoundedOnce);  // ends within rows
  EXPECT_LT(relative_error(gradient(1), weight.grad()), 2 * kRoundedOnce);  // never a whole pair
}

TEST_F(KernelGradients, OfInputsAreConvolutionsWithTheKernelTurned) {
  const avx512::ConvolutionShape shape{1, 4, 6, 32, 16};
  const Tensor dy = random_bf16({1, 4, 6, 16}), weight = random_bf16({16, 32, 3, 3}) * 0.2;
  const Tensor packed = at::empty({avx512::winograd_kernel_size(32, 16)}, at::kInt);
  const Tensor workspace = at::empty({avx512::winograd_workspace(16, 32)}, at::kByte);
  avx512::pack_winograd_kernel_reversed(bits(weight), 32, 16, words(packed));
  Framed in(dy), dx(4 * 6 * 32);
  avx512::winograd_convolve(shape.reversed(), in.data(), words(packed), {}, {0, shape.tiles()},
                            dx.data(), workspace.data_ptr());
  const Tensor x = at::zeros({1, 32, 4, 6}, at::kDouble).requires_grad_(true);
  at::conv2d(x, weight.to(at::kDouble), {}, 1, 1)
      .backward(dy.permute({0, 3, 1, 2}).to(at::kDouble));
  EXPECT_LT(relative_error(dx.values().view({1, 4, 6, 32}).permute({0, 3, 1, 2}), x.grad()),
            2 * kRoundedOnce);
  EXPECT_TRUE(dx.is_whole());
}

TEST_F(KernelGradients, SumsOfRowsTakeAnyNumberOfThem) {
  for (const int64_t rows : {1, 2, 33}) {
    const Tensor x = random_bf16({rows, 48});
    const Tensor sums = at::full({48}, 9.0F);  // is written, not added to
    Framed in(x);
    avx512::sum_rows(in.data(), rows, 48, sums.data_ptr<float>());
    EXPECT_LT(relative_error(sums, x.to(at::kDouble).sum(0)), 1e-6) << rows;
  }
}

struct HeadCase {
  int64_t queries, keys, width;
  bool causal;
};

/// Gradients of one head between the rows of others, on one kind of matrix unit.
void expect_head_gradients(const AttentionKernel& kernel, const HeadCase& c) {
  const int64_t stride = c.width + 6;
  const auto head = [&](int64_t length) { return random_bf16({length, stride}); };
  const Tensor q = head(c.queries), k = head(c.keys), v = head(c.keys), d_out = head(c.queries);
  const auto inner = [&](const Tensor& x) { return x.narrow(1, 0, c.width); };
  const double scale = 1.0 / std::sqrt(static_cast<double>(c.width));
  const HeadShape shape{c.queries, c.keys, c.width, static_cast<float>(scale), c.causal};

  const Tensor qe = exact_leaf(inner(q)), ke = exact_leaf(inner(k)), ve = exact_leaf(inner(v));
  Tensor scores = qe.matmul(ke.t()) * scale;
  if (c.causal) {
    scores = scores.masked_fill(at::ones({c.queries, c.keys}, at::kBool).triu(1), -1e300);
  }
  const Tensor exact = at::softmax(scores, -1).matmul(ve);
  exact.backward(inner(d_out).to(at::kDouble));

  const PackedSize size = kernel.packed_size(shape);
  const Tensor packed = at::zeros({size.keys + size.values}, at::kInt);
  const Tensor log_sums = at::empty({c.queries}), out = head(c.queries);
  kernel.pack(shape, {bits(k), stride}, {bits(v), stride}, words(packed),
              words(packed) + size.keys);
  kernel.forward(shape, {bits(q), stride}, words(packed), words(packed) + size.keys, 0, c.queries,
                 {bits(out), stride}, log_sums.data_ptr<float>());

  const auto untouched = [&](int64_t length) {
    return at::full({length, stride}, 77.0, at::kBFloat16);
  };
  const Tensor dq = untouched(c.queries), dk = untouched(c.keys), dv = untouched(c.keys);
  // Memory that nobody has written holds anything, NaN too.
  const Tensor workspace = at::full({kernel.workspace(shape)}, 0xff, at::kByte);
  const auto in = [&](const Tensor& x) { return HeadRows{bits(x), stride}; };
  const auto to = [&](const Tensor& x) { return HeadOutput{bits(x), stride}; };
  kernel.backward(
      shape,
      {in(q), in(k), in(v), in(out), in(d_out), log_sums.data_ptr<float>(), to(dq), to(dk), to(dv)},
      workspace.data_ptr());
  EXPECT_LT(relative_error(inner(dv), ve.grad()), 1e-2);
  if (c.keys > 1) {  // one key has all of every query whatever they say
    EXPECT_LT(relative_error(inner(dq), qe.grad()), 2e-2);
    EXPECT_LT(relative_error(inner(dk), ke.grad()), 2e-2);
  }
  for (const Tensor& x : {dq, dk, dv}) {
    EXPECT_TRUE((x.narrow(1, c.width, 6) == 77.0).all().item<bool>()) << "other heads";
  }
}

TEST_F(KernelGradients, OfAttentionBetweenTheRowsOfOtherHeads) {
  std::vector<const AttentionKernel*> kernels = {&kAvx512Attention, &kEmulatedAmxAttention};
  if (amx_available()) kernels.push_back(&kAmxAttention);
  for (const auto* kernel : kernels) {
    for (const auto& c :
         {HeadCase{9, 5, 16, false}, HeadCase{33, 70, 40, false}, HeadCase{20, 20, 8, true},
          HeadCase{1, 1, 2, false}, HeadCase{130, 300, 48, false}, HeadCase{200, 200, 32, true}}) {
      SCOPED_TRACE(fmt::format("{} queries, {} keys, {} wide", c.queries, c.keys, c.width));
      expect_head_gradients(*kernel, c);
    }
  }
}

}  // namespace
}  // namespace mos::nn::kernels

#endif  // __x86_64__
