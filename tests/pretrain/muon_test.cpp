#include "mos/train/muon.h"

#include <gtest/gtest.h>
#include <torch/nn/module.h>

#include <string>
#include <vector>

#include "mos/base/random.h"
#include "mos/nn/linear.h"
#include "mos/pretrain/initialise.h"
#include "mos/train/flat_adamw.h"

namespace mos::pretrain {
namespace {

using torch::Tensor;
using train::FlatAdamW;
using train::muon_scale;
using train::orthogonalised;

void expect_near_one(const Tensor& singular_values) {
  EXPECT_GT(singular_values.min().item<double>(), 0.5);
  EXPECT_LT(singular_values.max().item<double>(), 1.4);
}

TEST(Muon, BringsAllSingularValuesNearOne) {
  auto generator = seeded_generator(1);
  for (const auto& shape : {std::pair<std::int64_t, std::int64_t>{24, 60}, {60, 24}, {32, 32}}) {
    const auto matrix = mos::randn({shape.first, shape.second}, generator) * 7.0;
    const auto result = orthogonalised(matrix);
    ASSERT_EQ(result.sizes(), matrix.sizes());
    if (shape.first != shape.second) expect_near_one(std::get<1>(torch::svd(result)));
    // The directions stay: U V^T of the matrix itself is what the result is nearest to.
    const auto [u, s, v] = torch::svd(matrix);
    const auto exact = u.mm(v.t());
    const auto cosine = (result * exact).sum() / (result.norm() * exact.norm());
    EXPECT_GT(cosine.item<double>(), 0.95);
  }
}

TEST(Muon, TakesEqualMatricesTogether) {
  auto generator = seeded_generator(3);
  for (const auto& shape : {std::vector<std::int64_t>{3, 24, 64}, {3, 64, 24}}) {
    const auto matrices = mos::randn(shape, generator);
    const auto together = orthogonalised(matrices);
    for (std::int64_t i = 0; i < 3; ++i) {
      // Steps of bfloat16 in another order of summation.
      EXPECT_LT((together[i] - orthogonalised(matrices[i])).abs().max().item<double>(), 0.05);
    }
  }
}

TEST(Muon, UpdatesAreAboutAsLargeAsAdamWs) {
  auto generator = seeded_generator(2);
  const auto update = orthogonalised(mos::randn({48, 200}, generator)) * muon_scale(48, 200);
  const double root_mean_square = update.square().mean().sqrt().item<double>();
  EXPECT_GT(root_mean_square, 0.12);
  EXPECT_LT(root_mean_square, 0.28);
}

struct Deep : torch::nn::Module {
  Deep() {
    first = register_module("conv_in", nn::Linear(6, 16));
    middle = register_module("middle", nn::Linear(16, 16));
    last = register_module("conv_out", nn::Linear(16, 3));
    auto generator = seeded_generator(5);
    initialise_network(*this, generator);
  }
  Tensor loss() {
    auto generator = seeded_generator(6);
    const auto x = mos::randn({64, 6}, generator);
    const auto y = last(torch::tanh(middle(torch::tanh(first(x)))));
    return (y - torch::sin(x.narrow(1, 0, 3) * 2.0)).square().mean();
  }
  nn::Linear first{nullptr}, middle{nullptr}, last{nullptr};
};

TEST(Muon, TrainsTheMatricesThatItSuits) {
  Deep network;
  FlatAdamW optimizer(network, {.muon = train::muon_suits});
  const double before = network.loss().item<double>();
  for (int step = 0; step < 150; ++step) {
    network.loss().backward();
    optimizer.step(5e-3);
  }
  EXPECT_LT(network.loss().item<double>(), 0.5 * before);
  // Muon keeps no second moment; AdamW's parameters do.
  const auto state = optimizer.state();
  EXPECT_EQ(state.at("moment2/middle.weight").abs().max().item<double>(), 0.0);
  EXPECT_GT(state.at("moment2/middle.bias").abs().max().item<double>(), 0.0);
  EXPECT_GT(state.at("moment2/conv_in.weight").abs().max().item<double>(), 0.0);
}

struct Wide : torch::nn::Module {
  Wide() {
    for (int i = 0; i < 3; ++i) {
      equal.push_back(register_module("equal" + std::to_string(i), nn::Linear(16, 16)));
    }
    other = register_module("other", nn::Linear(16, 8));
    uneven = register_module("uneven", nn::Linear(8, 3));
    auto generator = seeded_generator(5);
    initialise_network(*this, generator);
  }
  Tensor loss(std::int64_t step) {
    auto generator = seeded_generator(static_cast<std::uint64_t>(step));
    const auto input = mos::randn({64, 16}, generator);
    auto x = input;
    for (auto& layer : equal) x = torch::tanh(layer(x));
    return (uneven(torch::tanh(other(x))) - input.narrow(1, 0, 3)).square().mean();
  }
  std::vector<nn::Linear> equal;
  nn::Linear other{nullptr}, uneven{nullptr};
};

TEST(Muon, BlocksOfEqualMatricesLearnAsEachAlone) {
  using Passes = train::FlatAdamWOptions::Passes;
  Wide alone, in_blocks;
  FlatAdamW a(alone, {.muon = train::muon_suits});
  FlatAdamW b(in_blocks, {.passes = Passes::kOperators, .muon = train::muon_suits});
  for (std::int64_t step = 0; step < 10; ++step) {
    alone.loss(step).backward();
    in_blocks.loss(step).backward();
    EXPECT_NEAR(a.step(5e-3), b.step(5e-3), 2e-2);
  }
  const auto expected = a.state();
  const auto state = b.state();
  ASSERT_EQ(state.size(), expected.size());
  for (const auto& [name, tensor] : expected) {
    EXPECT_TRUE(torch::allclose(state.at(name), tensor, 0.05, 5e-3)) << name;
  }
}

TEST(Muon, LeavesFirstAndLastLayersVectorsAndEmbeddingsToAdamW) {
  EXPECT_TRUE(train::muon_suits("unet.mid_block.resnets.0.conv1.weight"));
  EXPECT_TRUE(train::muon_suits("unet.down_blocks.1.resnets.0.time_emb_proj.weight"));
  for (const char* name : {"unet.conv_in.weight", "unet.conv_out.weight", "a.norm.bias",
                           "unet.time_embedding.linear_1.weight", "token_embedding.weight"}) {
    EXPECT_FALSE(train::muon_suits(name)) << name;
  }
}

}  // namespace
}  // namespace mos::pretrain
