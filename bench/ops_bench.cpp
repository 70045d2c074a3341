#include <ATen/Parallel.h>
#include <benchmark/benchmark.h>
#include <fmt/format.h>
#include <torch/csrc/autograd/autograd.h>

#include <array>
#include <cmath>
#include <functional>
#include <string>
#include <vector>

#include "mos/nn/kernels/portable.h"
#include "mos/nn/ops.h"

// Our operators in bfloat16 against the ATen compositions they replace, on shapes of a small U-Net
// (batch 64) and of Stable Diffusion 1.5 at 512x512. One thread; compare the CPU column, and run
// with OMP_WAIT_POLICY=passive. Names: operator/shape/forward|train/fused|aten.

namespace {

namespace nn = mos::nn;
namespace portable = mos::nn::kernels::portable;
using torch::Tensor;
using TensorList = std::vector<Tensor>;
using Op = std::function<Tensor(const TensorList&)>;

Tensor image(int64_t batch, int64_t channels, int64_t side) {
  return at::randn({batch, channels, side, side})
      .to(at::kBFloat16)
      .contiguous(at::MemoryFormat::ChannelsLast);
}

Tensor tokens(const std::vector<int64_t>& shape) { return at::randn(shape).to(at::kBFloat16); }

void measure(benchmark::State& state, const TensorList& inputs, bool train, const Op& op) {
  TensorList x;
  for (const Tensor& input : inputs) x.push_back(input.detach().requires_grad_(train));
  const c10::InferenceMode inference(!train);
  const Tensor dy = at::randn_like(op(x));
  for (auto _ : state) {
    const Tensor y = op(x);
    if (train) benchmark::DoNotOptimize(torch::autograd::grad({y}, x, {dy}));
    benchmark::DoNotOptimize(y.data_ptr());
  }
}

/// Registers `fused` and `aten` on `make()`'s tensors, forward alone and with the backward pass.
void compare(const std::string& name, const std::function<TensorList()>& make, const Op& fused,
             const Op& aten, bool train_too = true) {
  for (const bool train : {false, true}) {
    if (train && !train_too) continue;
    for (const bool ours : {true, false}) {
      const std::string label =
          name + (train ? "/train" : "/forward") + (ours ? "/fused" : "/aten");
      benchmark::RegisterBenchmark(label.c_str(), [=](benchmark::State& state) {
        measure(state, make(), train, ours ? fused : aten);
      })->Unit(benchmark::kMicrosecond);
    }
  }
}

void group_norms() {
  constexpr double kEps = 1e-5;
  for (const auto& [batch, channels, side] : {std::array<int64_t, 3>{64, 64, 16},
                                              {64, 128, 8},
                                              {64, 192, 4},
                                              {8, 64, 128},
                                              {2, 320, 64},
                                              {2, 1280, 16}}) {
    const Tensor weight = at::ones({channels});
    const Tensor bias = at::zeros({channels});
    compare(
        fmt::format("group_norm_silu/{}x{}x{}", batch, channels, side),
        [=] { return TensorList{image(batch, channels, side)}; },
        [=](const TensorList& in) {
          return nn::group_norm(in[0], 32, weight, bias, kEps, nn::Activation::kSilu);
        },
        [=](const TensorList& in) {
          return portable::group_norm(in[0], 32, weight, bias, kEps, nn::Activation::kSilu);
        });
  }
}

void rows() {
  for (const auto& [count, width] :
       {std::array<int64_t, 2>{16384, 64}, {4096, 128}, {8192, 320}, {512, 1280}}) {
    const std::string shape = fmt::format("{}x{}", count, width);
    const Tensor weight = at::ones({width});
    const Tensor bias = at::zeros({width});
    compare(
        "layer_norm/" + shape,
        [=] {
          return TensorList{tokens({count, width})};
        },
        [=](const TensorList& in) { return nn::layer_norm(in[0], weight, bias, 1e-5); },
        [=](const TensorList& in) { return portable::layer_norm(in[0], weight, bias, 1e-5); });
    compare(
        "geglu/" + shape,
        [=] {
          return TensorList{tokens({count, 8 * width})};
        },
        [](const TensorList& in) { return nn::geglu(in[0]); },
        [](const TensorList& in) { return portable::geglu(in[0]); });
  }
  compare(
      "silu/1048576", [] { return TensorList{tokens({1 << 20})}; },
      [](const TensorList& in) { return nn::silu(in[0]); },
      [](const TensorList& in) { return portable::silu(in[0]); });
  compare(
      "quick_gelu/1048576", [] { return TensorList{tokens({1 << 20})}; },
      [](const TensorList& in) { return nn::quick_gelu(in[0]); },
      [](const TensorList& in) { return portable::quick_gelu(in[0]); });
}

/// The ATen side is the composition in bfloat16, not in float32: oneDNN's products are right.
void attentions() {
  struct Case {
    int64_t batch, heads, queries, keys, width;
    bool train;
  };
  for (const Case& c : {Case{64, 2, 256, 256, 32, true}, Case{64, 2, 256, 77, 32, true},
                        Case{64, 4, 64, 64, 32, true}, Case{64, 4, 16, 77, 48, true},
                        Case{2, 8, 4096, 4096, 40, false}, Case{2, 8, 4096, 77, 40, false},
                        Case{2, 8, 1024, 1024, 80, true}, Case{2, 8, 256, 256, 160, true},
                        Case{1, 1, 4096, 4096, 512, false}}) {
    const std::string name =
        fmt::format("attention/{}x{}x{}x{}x{}", c.batch, c.heads, c.queries, c.keys, c.width);
    const double scale = 1.0 / std::sqrt(static_cast<double>(c.width));
    compare(
        name,
        [=] {
          const auto heads = [&](int64_t length) {
            return tokens({c.batch, length, c.heads, c.width}).transpose(1, 2);
          };
          return TensorList{heads(c.queries), heads(c.keys), heads(c.keys)};
        },
        [](const TensorList& in) { return nn::attention(in[0], in[1], in[2]); },
        [=](const TensorList& in) { return portable::attention(in[0], in[1], in[2], scale, {}); },
        c.train);
  }
}

}  // namespace

int main(int argc, char** argv) {
  at::set_num_threads(1);
  group_norms();
  rows();
  attentions();
  benchmark::Initialize(&argc, argv);
  benchmark::RunSpecifiedBenchmarks();
}
