#include <gtest/gtest.h>

#include <cmath>

#include "tests/fuse/layer_problem.h"

/// Merges that solve for what layers put out, each against its objective on rows as they are.
namespace {

using mos::fuse::Update;
using mos::tiny::Layer;
using mos::tiny::random_lora;
using torch::Tensor;

TEST(Gradient, IsTheLeastSquaresSolutionWithRowsThatPullTowardsTheRidgesGoal) {
  Layer layer({random_lora(1), random_lora(2)});
  layer.problem().weights = {2.0, 1.0};
  const double trace = 2.0 * layer.inputs()[0].square().sum().item<double>() +
                       layer.inputs()[1].square().sum().item<double>();
  const double lambda = 0.1 * trace / static_cast<double>(mos::tiny::kInputs);
  const auto goal = (2.0 * layer.delta(0) + layer.delta(1)) / 3.0;
  const double root = std::sqrt(2.0);
  const auto pull = std::sqrt(lambda) * torch::eye(mos::tiny::kInputs, torch::kFloat64);
  const auto& x = layer.inputs();
  const auto rows = torch::cat({root * x[0], x[1], pull});
  const auto wanted_of = [&](const Tensor& where) {
    return torch::cat({root * torch::matmul(x[0], layer.delta(0).t()),
                       torch::matmul(x[1], layer.delta(1).t()), torch::matmul(pull, where.t())});
  };
  const auto solved = [&](const Tensor& where) {
    return std::get<0>(torch::linalg_lstsq(rows, wanted_of(where), c10::nullopt, c10::nullopt)).t();
  };
  const auto merged = [&](const char* towards) {
    return layer.merged("gradient", {{"unet_ridge", 0.1}, {"ridge_towards", towards}});
  };
  EXPECT_TRUE(torch::allclose(merged("average"), solved(goal), 1e-9, 1e-9));
  EXPECT_TRUE(torch::allclose(merged("sum"), solved(2.0 * goal), 1e-9, 1e-9));
  EXPECT_TRUE(torch::allclose(merged("base"), solved(0.0 * goal), 1e-9, 1e-9));
}

/// Two concepts of three rows each by the formula of the paper, with a ridge on its kernel.
Tensor constrained_merge(const Layer& layer, double ridge) {
  constexpr double kFloor = 1e-6;
  const auto t = torch::cat({layer.inputs()[0], layer.inputs()[1]});  // the words' features
  const auto& k = layer.captions();
  const auto k_moments = torch::matmul(k.t(), k);
  const double mean = k.square().sum().item<double>() / static_cast<double>(mos::tiny::kInputs);
  const auto c = k_moments + kFloor * mean * torch::eye(mos::tiny::kInputs, torch::kFloat64);
  const double mu = ridge * t.square().sum().item<double>() / k.square().sum().item<double>();
  const auto d = torch::matmul(t, torch::inverse(c));
  // What each concept's own matrix makes of its words, less what W makes of them: [O,6].
  const auto missing = torch::cat({torch::matmul(layer.delta(0), layer.inputs()[0].t()),
                                   torch::matmul(layer.delta(1), layer.inputs()[1].t())},
                                  1);
  const auto kernel = torch::matmul(d, t.t()) + mu * torch::eye(6, torch::kFloat64);
  return torch::matmul(torch::matmul(missing, torch::inverse(kernel)), d);
}

TEST(CustomDiffusion, IsTheConstrainedMergeOfItsPaperWithARidge) {
  constexpr double kRidge = 1e-2;
  for (const bool dense : {false, true}) {  // as it tunes keys and values, and as LoRA
    const auto update = [dense](std::uint64_t seed) {
      return dense ? mos::tiny::random_dense(seed) : random_lora(seed);
    };
    const Layer layer({update(1), update(2)}, 3);
    EXPECT_TRUE(torch::allclose(layer.merged("custom_diffusion", {{"ridge", kRidge}}),
                                constrained_merge(layer, kRidge), 1e-8, 1e-8))
        << dense;
  }
}

TEST(CustomDiffusion, MeetsItsConstraintsWhenTheRidgeVanishes) {
  const Layer layer({random_lora(1), random_lora(2)}, 3);
  const auto merged = layer.merged("custom_diffusion", {{"ridge", 1e-8}});
  for (std::size_t i = 0; i < 2; ++i) {
    const auto& words = layer.inputs()[i];
    EXPECT_TRUE(torch::allclose(torch::matmul(words, merged.t()),
                                torch::matmul(words, layer.delta(i).t()), 1e-4, 1e-4));
  }
}

TEST(Iteris, AsksTheUpdateOnTheMergedModelsInputsForWhatEachConceptsOwnMakesOfItsOwn) {
  constexpr double kRidge = 0.1;
  Layer layer({random_lora(1), random_lora(2)});
  std::vector<Tensor> again;
  for (std::size_t i = 0; i < 2; ++i) {
    again.push_back(layer.inputs()[i] + 0.3 * mos::tiny::random_f64({30, 8}, 700 + i));
  }
  layer.see_again(again);
  const auto& base = layer.problem().weight;
  std::vector<double> c;
  double trace = 0.0;
  for (std::size_t i = 0; i < 2; ++i) {
    const auto own = base + layer.delta(i);
    const auto outputs = torch::matmul(layer.inputs()[i], own.t());
    c.push_back(own.square().sum().item<double>() / outputs.square().sum().item<double>());
    trace += c[i] * again[i].square().sum().item<double>();
  }
  // min Σ c_i ‖ΔW X̃_i − ΔW_i X_i‖² + λ ‖ΔW − average‖², as one least-squares problem in ΔW.
  const double lambda = kRidge * trace / static_cast<double>(mos::tiny::kInputs);
  const auto pull = std::sqrt(lambda) * torch::eye(mos::tiny::kInputs, torch::kFloat64);
  const auto average = 0.5 * (layer.delta(0) + layer.delta(1));
  std::vector<Tensor> rows = {pull}, wanted = {torch::matmul(pull, average.t())};
  for (std::size_t i = 0; i < 2; ++i) {
    rows.push_back(std::sqrt(c[i]) * again[i]);
    wanted.push_back(std::sqrt(c[i]) * torch::matmul(layer.inputs()[i], layer.delta(i).t()));
  }
  const auto update = std::get<0>(torch::linalg_lstsq(torch::cat(rows), torch::cat(wanted),
                                                      c10::nullopt, c10::nullopt))
                          .t();
  EXPECT_TRUE(
      torch::allclose(layer.merged("iteris", {{"unet_ridge", kRidge}}), update, 1e-8, 1e-8));
}

TEST(Iteris, ALayerThatNobodyChangesDoesNotMakeUpForThoseBeforeIt) {
  const auto nothing =
      Update{.dense = torch::zeros({mos::tiny::kOutputs, mos::tiny::kInputs}, torch::kFloat64)};
  Layer layer({nothing, nothing});
  layer.see_again({2.0 * layer.inputs()[0], layer.inputs()[1] + 1.0});
  EXPECT_EQ(layer.merged("iteris").norm().item<double>(), 0.0);
}

TEST(Iteris, InputsThatTheMergedModelSeesAlikeChangeNothing) {
  Layer layer({random_lora(1), random_lora(2)});
  const auto before = layer.merged("gradient", {{"unet_ridge", 0.1}});
  layer.see_again(layer.inputs());
  EXPECT_TRUE(torch::allclose(layer.merged("gradient", {{"unet_ridge", 0.1}}), before, 1e-9, 1e-9));
}

}  // namespace
