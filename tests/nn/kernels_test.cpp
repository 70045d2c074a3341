#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "mos/nn/kernels/attention_kernels.h"
#include "mos/nn/kernels/avx512_activation.h"
#include "mos/nn/kernels/avx512_linear.h"
#include "mos/nn/kernels/avx512_norm.h"
#include "mos/nn/kernels/avx512_winograd.h"
#include "mos/nn/kernels/bf16.h"
#include "mos/nn/kernels/cpu_features.h"
#include "tests/nn/compare.h"
#include "tests/nn/framed.h"

#if defined(__x86_64__)

// The pieces that the fused operators are made of, as their headers promise them to callers that
// split the work: at addresses that no vector is aligned to, for counts that fill none, and writing
// nowhere else. References are float64.

namespace mos::nn::kernels {
namespace {

using test::Framed;
using test::kRoundedOnce;
using test::random_bf16;

class Kernels : public test::KernelTest {};

/// Every number of bfloat16 up to 1e30 that is not subnormal, 57,748 of them, and the zeros.
Tensor every_number() {
  std::vector<float> numbers;
  for (uint32_t pattern = 0; pattern < 1U << 16; ++pattern) {
    const float value = to_float(static_cast<uint16_t>(pattern));
    if ((std::isnormal(value) && std::abs(value) <= 1e30F) || value == 0.0F) {
      numbers.push_back(value);
    }
  }
  return at::tensor(numbers).to(at::kBFloat16);
}

Tensor exact_activation(avx512::Pointwise f, const Tensor& x) {
  switch (f) {
    case avx512::Pointwise::kSilu:
      return x * at::sigmoid(x);
    case avx512::Pointwise::kQuickGelu:
      return x * at::sigmoid(1.702 * x);
    case avx512::Pointwise::kGelu:
      return x * 0.5 * at::erfc(-x / std::sqrt(2.0));
  }
  return {};
}

constexpr avx512::Pointwise kActivations[] = {
    avx512::Pointwise::kSilu, avx512::Pointwise::kQuickGelu, avx512::Pointwise::kGelu};

TEST_F(Kernels, ActivationsAreRoundedOnceForEveryNumberThereIs) {
  const Tensor x = every_number();
  for (const auto f : kActivations) {
    Framed in(x), out(x.numel());
    avx512::activate(f, in.data(), out.data(), x.numel());
    const Tensor exact = exact_activation(f, x.to(at::kDouble));
    // Far in the left tail the true value is below what float32 inside can hold of 1 + erf.
    const Tensor error = (out.values().to(at::kDouble) - exact).abs();
    const Tensor allowed = exact.abs() * kRoundedOnce + 1e-6;
    EXPECT_TRUE((error <= allowed).all().item<bool>())
        << static_cast<int>(f) << ": at " << x[(error - allowed).argmax()].item<double>();
    EXPECT_TRUE(out.is_whole());
  }
}

TEST_F(Kernels, SlopesOfActivationsAreThoseOfTheirDefinitions) {
  const Tensor x = every_number(), dy = random_bf16({x.numel()});
  for (const auto f : kActivations) {
    Framed in(x), gradient(dy), out(x.numel());
    avx512::activate_backward(f, in.data(), gradient.data(), out.data(), x.numel());
    Tensor exact = x.to(at::kDouble).requires_grad_(true);
    exact_activation(f, exact).backward(dy.to(at::kDouble));
    const Tensor error = (out.values().to(at::kDouble) - exact.grad()).abs();
    const Tensor allowed =
        exact.grad().abs() * kRoundedOnce + 1e-5 * dy.to(at::kDouble).abs() + 1e-30;
    EXPECT_TRUE((error <= allowed).all().item<bool>())
        << static_cast<int>(f) << ": at " << x[(error - allowed).argmax()].item<double>();
    EXPECT_TRUE(out.is_whole());
  }
}

TEST_F(Kernels, RoundingIsToTheNearestAndOfTwoToTheEvenOne) {
  const Tensor between = at::tensor(
      {1.0F, 1.00390625F, 1.01171875F, -1.00390625F, 1.003906F, 1.003907F, 3.4e38F, 1e-30F});
  const Tensor many = at::cat({between, at::randn({41}) * 1e3});
  Framed out(many.numel());
  avx512::round_values(many.data_ptr<float>(), many.numel(), out.data());
  EXPECT_TRUE(at::equal(out.values(), many.to(at::kBFloat16)));
  EXPECT_TRUE(out.is_whole());
}

TEST_F(Kernels, GegluTakesRowsOfAnyWidth) {
  for (const int64_t width : {1, 15, 16, 37}) {
    const int64_t rows = 3;
    const Tensor x = random_bf16({rows, 2 * width});
    Framed in(x), out(rows * width);
    avx512::geglu(in.data(), out.data(), rows, width);
    const Tensor wide = x.to(at::kDouble);
    const Tensor exact = wide.narrow(1, 0, width) *
                         exact_activation(avx512::Pointwise::kGelu, wide.narrow(1, width, width));
    EXPECT_LT(relative_error(out.values().view({rows, width}), exact), kRoundedOnce) << width;
    EXPECT_TRUE(out.is_whole());
  }
}

TEST_F(Kernels, LinearTakesAnyRowsAndAnySummands) {
  for (const int64_t rows : {1, 3, 17, 257}) {
    for (const bool adds : {false, true}) {
      const avx512::LinearShape shape{32, 48};
      const Tensor x = random_bf16({rows, 32}), weight = random_bf16({48, 32});
      const Tensor bias = at::randn({48}), residual = random_bf16({rows, 48});
      Framed in(x), w(weight), added(residual), out(rows * 48);
      const Tensor packed = at::empty({shape.weights() / 2}, at::kInt);
      avx512::pack_linear(shape, w.data(), words(packed));
      avx512::linear_rows(shape, in.data(), words(packed),
                          {adds ? bias.data_ptr<float>() : nullptr, adds ? added.data() : nullptr},
                          rows, out.data());
      Tensor exact = x.to(at::kDouble).matmul(weight.to(at::kDouble).t());
      if (adds) exact = exact + bias.to(at::kDouble) + residual.to(at::kDouble);
      EXPECT_LT(relative_error(out.values().view({rows, 48}), exact), kRoundedOnce) << rows;
      EXPECT_TRUE(out.is_whole()) << rows;
    }
  }
}

TEST_F(Kernels, LinearReversedTakesGradientsBack) {
  const avx512::LinearShape shape{48, 16};
  const Tensor dy = random_bf16({5, 16}), weight = random_bf16({16, 48});
  Framed in(dy), w(weight), out(5 * 48);
  const Tensor packed = at::empty({shape.weights() / 2}, at::kInt);
  avx512::pack_linear_reversed(shape, w.data(), words(packed));
  avx512::linear_rows(shape.reversed(), in.data(), words(packed), {}, 5, out.data());
  EXPECT_LT(
      relative_error(out.values().view({5, 48}), dy.to(at::kDouble).matmul(weight.to(at::kDouble))),
      kRoundedOnce);
  EXPECT_TRUE(out.is_whole());
}

TEST_F(Kernels, LinearGradientsAreAddedToWhatIsThere) {
  for (const int64_t rows : {1, 2, 255, 513}) {  // odd, even, and beyond one block
    const avx512::LinearShape shape{16, 32};
    const Tensor x = random_bf16({rows, 16}), dy = random_bf16({rows, 32});
    const Tensor before = at::randn({32, 16}), bias_before = at::randn({32});
    const Tensor sums = before.clone(), bias_sums = bias_before.clone();
    const Tensor workspace = at::empty({avx512::linear_gradient_workspace(shape)}, at::kInt);
    Framed in(x), gradient(dy);
    avx512::linear_gradient(shape, in.data(), gradient.data(), rows, sums.data_ptr<float>(),
                            bias_sums.data_ptr<float>(), words(workspace));
    const Tensor exact = dy.to(at::kDouble).t().matmul(x.to(at::kDouble));
    EXPECT_LT(relative_error(sums, before.to(at::kDouble) + exact), 1e-6) << rows;
    EXPECT_LT(relative_error(bias_sums, bias_before.to(at::kDouble) + dy.to(at::kDouble).sum(0)),
              1e-6)
        << rows;
  }
}

TEST_F(Kernels, LayerNormKeepsMeanAndDeviationForTheWayBack) {
  for (const int64_t width : {1, 7, 16, 100}) {
    const int64_t rows = 4;
    const Tensor x = (at::randn({rows, width}) * 3 + 10).to(at::kBFloat16);
    const Tensor weight = at::randn({width}), bias = at::randn({width});
    const Tensor mean = at::empty({rows}), rstd = at::empty({rows});
    Framed in(x), out(x.numel());
    const avx512::LayerNorm norm{width, 1e-5F, weight.data_ptr<float>(), bias.data_ptr<float>()};
    avx512::layer_norm(norm, in.data(), rows, out.data(), mean.data_ptr<float>(),
                       rstd.data_ptr<float>());
    const Tensor wide = x.to(at::kDouble);
    const Tensor centre = wide.mean(1);
    const Tensor variance = (wide - centre.unsqueeze(1)).square().mean(1);
    EXPECT_LT(relative_error(mean, centre), 1e-6) << width;
    EXPECT_LT(relative_error(rstd, (variance + 1e-5).rsqrt()), 1e-4) << width;
    EXPECT_TRUE(out.is_whole()) << width;
  }
}

TEST_F(Kernels, MomentsAroundACentreAreAddedForRowsAndForChannels) {
  for (const int64_t rows : {0, 1, 19}) {
    const int64_t channels = 21;
    const Tensor x = (at::randn({rows, channels}) + 50.0).to(at::kBFloat16);
    const Tensor centre = at::full({channels}, 50.0F);
    const Tensor sum = at::ones({channels}), square = at::ones({channels});
    Framed in(x);
    avx512::moments_rows(in.data(), rows, channels, centre.data_ptr<float>(), sum.data_ptr<float>(),
                         square.data_ptr<float>());
    const Tensor off = x.to(at::kDouble) - 50.0;
    EXPECT_LT(relative_error(sum, off.sum(0) + 1.0), 1e-6) << rows;
    EXPECT_LT(relative_error(square, off.square().sum(0) + 1.0), 1e-6) << rows;
    float channel_sum = 1.0F, channel_square = 1.0F;
    avx512::moments_channel(in.data(), x.numel(), 50.0F, &channel_sum, &channel_square);
    EXPECT_NEAR(channel_sum, off.sum().item<double>() + 1.0, 1e-3) << rows;
    EXPECT_NEAR(channel_square, off.square().sum().item<double>() + 1.0, 1e-3) << rows;
  }
}

TEST_F(Kernels, WinogradInPiecesIsWinogradAtOnce) {
  const avx512::ConvolutionShape shape{2, 5, 7, 16, 32};
  const Tensor x = random_bf16({2, 5, 7, 16}), weight = random_bf16({32, 16, 3, 3}) * 0.2;
  const Tensor packed = at::empty({avx512::winograd_kernel_size(16, 32)}, at::kInt);
  const Tensor workspace = at::empty({avx512::winograd_workspace(16, 32)}, at::kByte);
  avx512::pack_winograd_kernel(bits(weight), 16, 32, words(packed));
  const int64_t outputs = 2 * 5 * 7 * 32;
  Framed in(x), whole(outputs), pieces(outputs);
  ASSERT_LE(shape.tiles(), avx512::winograd_group(16, 32));
  avx512::winograd_convolve(shape, in.data(), words(packed), {}, {0, shape.tiles()}, whole.data(),
                            workspace.data_ptr());
  for (int64_t first = 0; first < shape.tiles(); first += 5) {  // ends within rows of tiles
    avx512::winograd_convolve(shape, in.data(), words(packed), {},
                              {first, std::min(first + 5, shape.tiles())}, pieces.data(),
                              workspace.data_ptr());
  }
  EXPECT_TRUE(at::equal(whole.values(), pieces.values()));
  EXPECT_TRUE(whole.is_whole() && pieces.is_whole());
  const Tensor exact =
      at::conv2d(x.permute({0, 3, 1, 2}).to(at::kDouble), weight.to(at::kDouble), {}, 1, 1)
          .permute({0, 2, 3, 1});
  EXPECT_LT(relative_error(whole.values().view(exact.sizes()), exact), 2 * kRoundedOnce);
}

struct HeadSizes {
  int64_t queries, keys, width;
  bool causal;
};

/// softmax(q kᵀ / √D) v and log₂ of its denominators.
std::pair<Tensor, Tensor> exact_head(const HeadSizes& sizes, const Tensor& q, const Tensor& k,
                                     const Tensor& v) {
  Tensor scores =
      q.to(at::kDouble).matmul(k.to(at::kDouble).t()) / std::sqrt(static_cast<double>(sizes.width));
  if (sizes.causal) {
    scores = scores.masked_fill(at::ones({sizes.queries, sizes.keys}, at::kBool).triu(1), -1e300);
  }
  return {at::softmax(scores, -1).matmul(v.to(at::kDouble)),
          at::logsumexp(scores, {1}) / std::log(2.0)};
}

TEST_F(Kernels, AttentionWritesTheQueriesItIsGivenBetweenTheRowsOfOthers) {
  for (const auto& sizes : {HeadSizes{9, 5, 16, false}, HeadSizes{33, 70, 40, false},
                            HeadSizes{20, 20, 8, true}, HeadSizes{3, 1, 64, false}}) {
    const int64_t stride = sizes.width + 6;  // rows of other heads lie between
    const Tensor q = random_bf16({sizes.queries, sizes.width});
    const Tensor k = random_bf16({sizes.keys, stride}), v = random_bf16({sizes.keys, stride});
    const HeadShape shape{sizes.queries, sizes.keys, sizes.width,
                          static_cast<float>(1.0 / std::sqrt(static_cast<double>(sizes.width))),
                          sizes.causal};
    const int64_t first = sizes.queries / 3, last = sizes.queries;
    const auto [exact, log_sums] =
        exact_head(sizes, q, k.narrow(1, 0, sizes.width), v.narrow(1, 0, sizes.width));
    for (const auto* kernel : {&kAvx512Attention, &kEmulatedAmxAttention}) {
      const PackedSize size = kernel->packed_size(shape);
      const Tensor packed = at::zeros({size.keys + size.values}, at::kInt);
      const Tensor logs = at::full({sizes.queries}, -5.0F);
      const Tensor out = at::full({sizes.queries, stride}, 77.0, at::kBFloat16);
      kernel->pack(shape, {bits(k), stride}, {bits(v), stride}, words(packed),
                   words(packed) + size.keys);
      kernel->forward(shape, {bits(q), sizes.width}, words(packed), words(packed) + size.keys,
                      first, last, {bits(out), stride}, logs.data_ptr<float>());
      const int64_t count = last - first;
      EXPECT_LT(relative_error(out.narrow(0, first, count).narrow(1, 0, sizes.width),
                               exact.narrow(0, first, count)),
                5e-3);
      EXPECT_LT(relative_error(logs.narrow(0, first, count), log_sums.narrow(0, first, count)),
                5e-3);
      EXPECT_TRUE((logs.narrow(0, 0, first) == -5.0F).all().item<bool>());
      EXPECT_TRUE((out.narrow(0, 0, first) == 77.0).all().item<bool>()) << "queries of others";
      EXPECT_TRUE((out.narrow(1, sizes.width, 6) == 77.0).all().item<bool>()) << "other heads";
      // Where nobody asks for them the sums are left out and nothing else changes.
      const Tensor again = at::full({sizes.queries, stride}, 77.0, at::kBFloat16);
      kernel->forward(shape, {bits(q), sizes.width}, words(packed), words(packed) + size.keys,
                      first, last, {bits(again), stride}, nullptr);
      EXPECT_TRUE(at::equal(again, out));
    }
  }
}

}  // namespace
}  // namespace mos::nn::kernels

#endif  // __x86_64__
