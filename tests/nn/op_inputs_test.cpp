#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include <string>

#include "mos/base/runtime.h"
#include "mos/nn/linear.h"
#include "mos/nn/ops.h"
#include "tests/nn/compare.h"

// Operators take tensors as networks happen to have them: slices that begin at any address, views
// with any strides, one row for many, nothing at all. What comes out is what a tidy copy of the
// same numbers gives, in every precision, and does not depend on the number of threads.

namespace mos::nn {
namespace {

struct Operator {
  std::string name;
  std::function<Tensor(const Tensor&)> of;  ///< Of x [...,N,24].
  Op reference;
};

const Tensor kNormWeight = at::linspace(0.5, 1.5, 24), kNormBias = at::linspace(-1, 1, 24);

Tensor along_channels(const Tensor& x, const std::function<Tensor(const Tensor&)>& of) {
  return of(x.transpose(-1, -2)).transpose(-1, -2);  // [B,C,N] for group_norm
}

const Operator kOperators[] = {
    {"silu", [](const Tensor& x) { return nn::silu(x); },
     [](const TensorList& in) { return in[0] * at::sigmoid(in[0]); }},
    {"gelu", [](const Tensor& x) { return nn::gelu(x); },
     [](const TensorList& in) { return in[0] * 0.5 * (1 + at::erf(in[0] / std::sqrt(2.0))); }},
    {"quick_gelu", [](const Tensor& x) { return quick_gelu(x); },
     [](const TensorList& in) { return in[0] * at::sigmoid(1.702 * in[0]); }},
    {"geglu", [](const Tensor& x) { return geglu(x); },
     [](const TensorList& in) {
       const auto gate = in[0].narrow(-1, 12, 12);
       return in[0].narrow(-1, 0, 12) * gate * 0.5 * (1 + at::erf(gate / std::sqrt(2.0)));
     }},
    {"layer_norm", [](const Tensor& x) { return layer_norm(x, kNormWeight, kNormBias, 1e-5); },
     [](const TensorList& in) {
       const auto centred = in[0] - in[0].mean(-1, true);
       return centred / (centred.square().mean(-1, true) + 1e-5).sqrt() *
                  kNormWeight.to(at::kDouble) +
              kNormBias.to(at::kDouble);
     }},
    {"group_norm",
     [](const Tensor& x) {
       return along_channels(x, [](const Tensor& y) {
         return group_norm(y, 4, kNormWeight, kNormBias, 1e-5, Activation::kSilu);
       });
     },
     [](const TensorList& in) {
       return along_channels(in[0], [](const Tensor& y) {
         const auto groups = y.reshape({y.size(0), 4, -1});
         const auto centred = groups - groups.mean(-1, true);
         const auto normal =
             (centred / (centred.square().mean(-1, true) + 1e-5).sqrt()).reshape(y.sizes());
         const auto column = [](const Tensor& z) { return z.to(at::kDouble).unsqueeze(-1); };
         const auto z = normal * column(kNormWeight) + column(kNormBias);
         return z * at::sigmoid(z);
       });
     }},
    {"attention",
     [](const Tensor& x) {
       const auto heads = x.unsqueeze(1).expand({x.size(0), 3, x.size(1), 24});
       return nn::attention(heads.narrow(3, 0, 8), heads.narrow(3, 8, 8), heads.narrow(3, 16, 8))
           .select(1, 2);
     },
     [](const TensorList& in) {
       const auto q = in[0].narrow(2, 0, 8), k = in[0].narrow(2, 8, 8), v = in[0].narrow(2, 16, 8);
       return at::softmax(q.matmul(k.transpose(1, 2)) / std::sqrt(8.0), -1).matmul(v);
     }}};

struct Input {
  std::string name;
  Tensor x;  ///< float32 [B,N,24].
};

Tensor drawn(at::IntArrayRef shape) {
  at::manual_seed(31);
  return at::randn(shape) * 2;
}

/// The same numbers in every kind of memory.
std::vector<Input> inputs() {
  return {{"tidy", drawn({2, 7, 24})},
          {"at an odd address", drawn({2 * 7 * 24 + 1}).narrow(0, 1, 2 * 7 * 24).view({2, 7, 24})},
          {"every second row", drawn({2, 14, 24}).slice(1, 0, 14, 2)},
          {"a part of wider rows", drawn({2, 7, 31}).narrow(2, 5, 24)},
          {"turned around", drawn({24, 7, 2}).permute({2, 1, 0})},
          {"one row for all", drawn({2, 1, 24}).expand({2, 7, 24})},
          {"a single row", drawn({1, 1, 24})}};
}

class Operators : public testing::TestWithParam<Operator> {
 protected:
  /// Relative to the largest number there is: rows with a small result are beside others.
  static double largest_error(const Tensor& actual, const Tensor& expected) {
    const auto wide = expected.to(at::kDouble);
    return ((actual.to(at::kDouble) - wide).abs().max() / wide.abs().max()).item<double>();
  }
};

TEST_P(Operators, TakeMemoryOfEveryKind) {
  for (const auto dtype : {at::kFloat, at::kBFloat16, at::kDouble}) {
    for (const auto& input : inputs()) {
      // Strides of views stay, and so does their offset, only where the dtype is theirs.
      const auto x = dtype == at::kFloat ? input.x : [&] {
        auto memory = at::empty_strided(input.x.sizes(), input.x.strides(), at::dtype(dtype));
        return input.name == "one row for all" ? input.x.to(dtype) : memory.copy_(input.x);
      }();
      const auto y = GetParam().of(x);
      const auto exact = GetParam().reference({x.to(at::kDouble)});
      EXPECT_EQ(y.scalar_type(), dtype) << input.name;
      EXPECT_EQ(y.sizes(), exact.sizes()) << input.name;
      const double bound = dtype == at::kBFloat16 ? 1e-2 : dtype == at::kFloat ? 5e-6 : 1e-12;
      EXPECT_LT(largest_error(y, exact), bound) << input.name << ", " << toString(dtype);
    }
  }
}

TEST_P(Operators, Bfloat16BeginsAtAnyAddress) {
  for (const std::int64_t offset : {1, 2, 3, 15}) {
    const auto memory = drawn({2 * 7 * 24 + offset}).to(at::kBFloat16);
    const auto shifted = memory.narrow(0, offset, 2 * 7 * 24).view({2, 7, 24});
    EXPECT_TRUE(at::equal(GetParam().of(shifted), GetParam().of(shifted.clone()))) << offset;
  }
}

TEST_P(Operators, LeaveTheirInputAlone) {
  for (const auto dtype : {at::kFloat, at::kBFloat16}) {
    const auto x = drawn({2, 7, 24}).to(dtype);
    const auto before = x.clone();
    GetParam().of(x);
    EXPECT_TRUE(at::equal(x, before));
  }
}

TEST_P(Operators, GiveTheSameBytesForAnyNumberOfThreads) {
  const auto x = drawn({16, 300, 24}).to(at::kBFloat16);  // enough for several tasks
  const auto dy = at::randn(GetParam().of(x.narrow(0, 0, 16)).sizes()).to(at::kBFloat16);
  const auto run = [&](int threads) {
    const ScopedThreads scope(threads);
    const auto in = leaf(x);
    const auto y = GetParam().of(in);
    y.backward(dy);
    return TensorList{y.detach(), in.grad()};
  };
  const auto one = run(1);
  for (const int threads : {2, 3}) {
    const auto many = run(threads);
    EXPECT_TRUE(at::equal(one[0], many[0])) << threads << " threads";
    EXPECT_TRUE(at::equal(one[1], many[1])) << threads << " threads: the gradient";
  }
}

TEST_P(Operators, GradientsDoNotDependOnTheMemoryOfWhatComesBack) {
  for (const auto dtype : {at::kFloat, at::kBFloat16}) {
    const auto x = drawn({2, 7, 24}).to(dtype);
    const auto shape = GetParam().of(x).sizes().vec();
    const auto tidy = at::randn(shape).to(dtype);
    const auto odd =
        at::empty({shape[2], shape[1], shape[0]}, at::dtype(dtype)).permute({2, 1, 0}).copy_(tidy);
    const auto gradient = [&](const Tensor& dy) {
      const auto in = leaf(x);
      GetParam().of(in).backward(dy);
      return in.grad();
    };
    EXPECT_LT(relative_error(gradient(odd), gradient(tidy)), dtype == at::kFloat ? 1e-6 : 1e-9);
    // The sum's gradient is one number for all, with strides of zero.
    const auto in = leaf(x);
    GetParam().of(in).sum().backward();
    EXPECT_TRUE(in.grad().isfinite().all().item<bool>());
  }
}

TEST_P(Operators, OfNothingAreNothing) {
  if (GetParam().name == "attention") return;  // of no keys there is no mean
  for (const auto dtype : {at::kFloat, at::kBFloat16}) {
    const auto y = GetParam().of(at::empty({0, 7, 24}, at::dtype(dtype)));
    EXPECT_EQ(y.numel(), 0);
    EXPECT_EQ(y.scalar_type(), dtype);
  }
}

INSTANTIATE_TEST_SUITE_P(OfOps, Operators, testing::ValuesIn(kOperators),
                         [](const auto& op) { return op.param.name; });

class LayersOnAnyEngine : public testing::TestWithParam<Engine> {};

TEST_P(LayersOnAnyEngine, LinearTakesNoRowsOneRowAndViews) {
  at::manual_seed(32);
  const torch::NoGradGuard no_grad;
  Linear layer(32, 16);
  layer->engine = GetParam();
  layer->weight = at::randn({16, 32}).to(at::kBFloat16);
  layer->bias = at::randn({16}).to(at::kBFloat16);
  EXPECT_EQ(layer(at::empty({0, 32}, at::kBFloat16)).sizes(), (std::vector<int64_t>{0, 16}));
  const auto wide = at::randn({3, 5, 40}).to(at::kBFloat16);
  for (const auto& x :
       {wide.narrow(2, 3, 32), wide.narrow(2, 8, 32).transpose(0, 1),
        wide.narrow(2, 0, 32).select(0, 1), wide.select(0, 0).select(0, 0).narrow(0, 1, 32)}) {
    const auto exact =
        x.to(at::kDouble).matmul(layer->weight.to(at::kDouble).t()) + layer->bias.to(at::kDouble);
    const auto y = layer(x);
    EXPECT_EQ(y.sizes(), exact.sizes());
    EXPECT_LT(relative_error(y, exact), tolerance(at::kBFloat16));
  }
}

TEST_P(LayersOnAnyEngine, ConvolutionsTakePicturesInBothLayoutsAndOfNothing) {
  at::manual_seed(33);
  const torch::NoGradGuard no_grad;
  auto layer = conv3x3(16, 32);
  layer->engine = GetParam();
  layer->weight = (at::randn({32, 16, 3, 3}) * 0.1).to(at::kBFloat16);
  layer->bias = at::randn({32}).to(at::kBFloat16);
  const auto x = at::randn({2, 16, 5, 6}).to(at::kBFloat16);
  const auto exact = at::conv2d(x.to(at::kDouble), layer->weight.to(at::kDouble),
                                layer->bias.to(at::kDouble), 1, 1);
  for (const auto& picture : {x, x.contiguous(at::MemoryFormat::ChannelsLast),
                              x.transpose(2, 3).contiguous().transpose(2, 3)}) {
    EXPECT_LT(relative_error(layer(picture), exact), 8e-3);
  }
  EXPECT_LT(relative_error(layer(x.narrow(3, 1, 4)), at::conv2d(x.narrow(3, 1, 4).to(at::kDouble),
                                                                layer->weight.to(at::kDouble),
                                                                layer->bias.to(at::kDouble), 1, 1)),
            8e-3);
}

TEST_P(LayersOnAnyEngine, AnObserverSeesWhatTheLayerReads) {
  const torch::NoGradGuard no_grad;
  Linear layer(16, 16);
  layer->engine = GetParam();
  layer->weight = at::eye(16).to(at::kBFloat16);
  layer->bias = at::zeros({16}).to(at::kBFloat16);
  TensorList seen;
  layer->input_observer = [&](const Tensor& x) { seen.push_back(x.clone()); };
  const auto x = at::randn({3, 16}).to(at::kBFloat16);
  const auto y = layer(x);
  ASSERT_EQ(seen.size(), 1U);
  EXPECT_TRUE(at::equal(seen[0], x));
  EXPECT_TRUE(at::equal(y, x));
}

INSTANTIATE_TEST_SUITE_P(Engines, LayersOnAnyEngine,
                         testing::Values(Engine::kLibTorch, Engine::kFused));

}  // namespace
}  // namespace mos::nn
