#include <gtest/gtest.h>

#include "mos/fuse/method.h"
#include "tests/fuse/layer_problem.h"

/// Merges that add or cut down what LoRAs are, each against its published definition on matrices as
/// they are.
namespace {

using mos::Json;
using mos::tiny::Layer;
using mos::tiny::random_lora;

TEST(Concat, IsTheSumAsOneLora) {
  Layer layer({random_lora(1, 2), random_lora(2, 3)});
  layer.problem().weights = {0.5, -2.0};
  const auto update =
      mos::fuse::make_method("concat", Json::object())->merge(layer.problem()).update;
  EXPECT_EQ(update.rank(), 5);
  const auto wanted = 0.5 * layer.delta(0) - 2.0 * layer.delta(1);
  EXPECT_TRUE(torch::allclose(update.matrix(), wanted));
  EXPECT_TRUE(torch::allclose(layer.merged("sum"), wanted));
}

TEST(Svd, KeepsTheLeadingSingularValuesOfTheSum) {
  const Layer layer({random_lora(1, 2), random_lora(2, 2)});
  const auto sum = layer.delta(0) + layer.delta(1);
  // The best approximation of rank r is the projection onto the r leading eigenvectors of S Sᵀ.
  const auto vectors = std::get<1>(torch::linalg_eigh(torch::matmul(sum, sum.t()), "L"));
  for (const std::int64_t rank : {1, 2, 3, 4}) {
    const auto leading = vectors.slice(1, vectors.size(1) - rank);
    const auto wanted = torch::matmul(leading, torch::matmul(leading.t(), sum));
    EXPECT_TRUE(torch::allclose(layer.merged("svd", {{"rank", rank}}), wanted, 1e-9, 1e-9));
  }
  const auto merged = mos::fuse::make_method("svd", {{"rank", 0}})->merge(layer.problem());
  EXPECT_EQ(merged.update.rank(), 2);
  const double kept = merged.update.matrix().square().sum().item<double>();
  EXPECT_NEAR(merged.facts.at("kept_energy"), kept / sum.square().sum().item<double>(), 1e-12);
}

TEST(Ssr, RoutesWhatTheLorasReadByItsStatistics) {
  const Layer layer({random_lora(1, 2), random_lora(2, 3)}, 20);
  const auto& updates = layer.problem().updates;
  const auto a = torch::cat({updates[0].down, updates[1].down});
  const auto b = torch::cat({updates[0].up, updates[1].up}, 1);
  auto g = torch::zeros({5, 5}, torch::kFloat64), q = torch::zeros({5, 5}, torch::kFloat64);
  for (std::size_t k = 0; k < 2; ++k) {
    for (const auto& x : layer.inputs()[k].unbind(0)) {
      const auto z = torch::matmul(a, x);
      auto own = torch::zeros_like(z);
      (k == 0 ? own.slice(0, 0, 2) : own.slice(0, 2)).copy_(torch::matmul(updates[k].down, x));
      g += torch::outer(z, z) / 40.0;
      q += torch::outer(own, z) / 40.0;
    }
  }
  const auto router = torch::matmul(q, torch::inverse(g + 1e-4 * torch::eye(5, torch::kFloat64)));
  const auto wanted = torch::matmul(torch::matmul(b, router), a);
  EXPECT_TRUE(torch::allclose(layer.merged("ssr"), wanted, 1e-9, 1e-9));
}

TEST(Sum, KeepsBothConceptsThatReadOtherRowsOfOneOrthogonalBasis) {
  const auto basis = std::get<0>(torch::linalg_qr(mos::tiny::random_f64({8, 8}, 40)));
  const auto concept_of = [&](std::int64_t first, std::uint64_t seed) {
    return mos::fuse::Update{.up = mos::tiny::random_f64({mos::tiny::kOutputs, 2}, seed),
                             .down = 0.5 * basis.narrow(0, first, 2)};
  };
  const Layer layer({concept_of(0, 1), concept_of(4, 2)});
  const auto merged = layer.merged("sum");
  for (const std::int64_t i : {0, 1}) {
    const auto inputs = basis.narrow(0, 4 * i, 2).t();  // what concept i alone reads
    EXPECT_TRUE(torch::allclose(torch::matmul(merged, inputs),
                                torch::matmul(layer.delta(static_cast<std::size_t>(i)), inputs),
                                1e-10, 1e-10));
  }
}

}  // namespace
