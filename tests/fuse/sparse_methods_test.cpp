#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "tests/fuse/layer_problem.h"

/// Merges that leave entries out, each against its published definition on matrices as they are.
namespace {

using mos::Json;
using mos::fuse::Update;
using mos::tiny::Layer;
using mos::tiny::random_dense;
using mos::tiny::random_lora;
using torch::Tensor;

/// Entry by entry: the largest `kept` of a matrix, zeros for the others.
std::vector<double> trimmed(const Tensor& matrix, std::size_t kept) {
  const auto flat = matrix.contiguous().flatten();
  std::vector<double> entries(flat.data_ptr<double>(), flat.data_ptr<double>() + flat.numel());
  auto order = entries;
  std::ranges::sort(order, [](double a, double b) { return std::abs(a) > std::abs(b); });
  for (double& entry : entries) {
    if (std::abs(entry) < std::abs(order[kept - 1])) entry = 0.0;
  }
  return entries;
}

Tensor as_matrix(const std::vector<double>& entries) {
  return torch::tensor(entries, torch::kFloat64).view({mos::tiny::kOutputs, mos::tiny::kInputs});
}

TEST(Magnitude, IsTheSumOfTheLargestEntries) {
  Layer layer({random_lora(1), random_lora(2)});
  layer.problem().weights = {1.0, 0.5};
  const auto wanted =
      as_matrix(trimmed(layer.delta(0), 10)) + 0.5 * as_matrix(trimmed(layer.delta(1), 10));
  EXPECT_TRUE(torch::allclose(layer.merged("magnitude", {{"density", 0.25}}), wanted));
}

TEST(Ties, TrimsElectsASignAndTakesTheMeanOfThoseThatAgree) {
  const Layer layer({random_lora(1), random_lora(2), random_lora(3)});
  std::vector<std::vector<double>> kept;
  for (std::size_t i = 0; i < 3; ++i) kept.push_back(trimmed(layer.delta(i), 20));
  std::vector<double> wanted;
  for (std::size_t e = 0; e < kept.front().size(); ++e) {
    double mass = 0.0, sum = 0.0, count = 0.0;
    for (const auto& entries : kept) mass += entries[e];
    for (const auto& entries : kept) {
      if (entries[e] * mass <= 0.0) continue;
      sum += entries[e];
      count += 1.0;
    }
    wanted.push_back(count > 0.0 ? sum / count : 0.0);
  }
  EXPECT_TRUE(torch::allclose(layer.merged("ties", {{"density", 0.5}}), as_matrix(wanted)));
}

TEST(Dare, DropsEntriesAndScalesTheOthersUp) {
  const Layer layer({random_dense(1)});
  const auto merged = layer.merged("dare", {{"density", 0.25}});
  const auto kept = merged != 0.0;
  EXPECT_TRUE(
      torch::allclose(merged.masked_select(kept), 4.0 * layer.delta(0).masked_select(kept)));
  EXPECT_GT(kept.sum().item<std::int64_t>(), 0);
  EXPECT_LT(kept.sum().item<std::int64_t>(), 25);  // of 40; 10 expected, 5.5 deviations away
}

TEST(Dare, WhatIsDroppedDependsOnSeedLayerAndConceptAlone) {
  const Json options = {{"density", 0.5}, {"seed", 3}};
  Layer one({random_dense(1)}), two({random_dense(1), random_dense(2)});
  const auto first = one.merged("dare", options);
  EXPECT_TRUE(one.merged("dare", options).equal(first));
  EXPECT_FALSE(one.merged("dare", {{"density", 0.5}, {"seed", 4}}).equal(first));
  two.problem().updates[1] = {};
  EXPECT_TRUE(two.merged("dare", options).equal(first));
  two.problem().updates = {Update{}, random_dense(1)};
  EXPECT_FALSE(two.merged("dare", options).equal(first));
  one.problem().layer = "another";
  EXPECT_FALSE(one.merged("dare", options).equal(first));
}

TEST(Dare, TheKeptEntriesAreElectedWhenTiesFollows) {
  const Layer layer({random_dense(1), random_dense(2)});
  const auto alone = [](std::size_t kept) {
    std::vector<Update> updates(2);
    updates[kept] = random_dense(kept + 1);
    return Layer(updates).merged("dare", {{"density", 0.5}});
  };
  const auto first = alone(0), second = alone(1);
  const auto sum = first + second;
  const auto agree = first * second > 0.0;
  // Of two that disagree the larger one wins; of two that agree it is the mean.
  const auto wanted =
      torch::where(agree, sum / 2.0, torch::where(first.abs() > second.abs(), first, second));
  EXPECT_TRUE(torch::allclose(layer.merged("dare", {{"density", 0.5}, {"then", "ties"}}), wanted));
}

}  // namespace
