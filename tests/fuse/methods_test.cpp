#include <gmock/gmock.h>
#include <torch/autograd.h>

#include <algorithm>
#include <cmath>

#include "mos/base/error.h"
#include "mos/fuse/method.h"
#include "tests/fuse/layer_problem.h"

namespace {

using mos::Json;
using mos::fuse::Update;
using mos::fuse::Weighting;
using mos::tiny::Layer;
using mos::tiny::random_dense;
using mos::tiny::random_lora;
using testing::HasSubstr;
using torch::Tensor;

/// What each method promises, beside what its own test says.
struct Promise {
  std::string method;
  Json options;  ///< With which it gives a concept back that is alone.
  double tolerance = 1e-9;
  /// A layer that one of two concepts touches is left as that one has it.
  bool keeps_what_one_touches = true;
};

std::ostream& operator<<(std::ostream& out, const Promise& promise) {
  return out << promise.method;
}

const std::vector<Promise> kPromises = {
    {"gradient", {{"text_ridge", 1.0}, {"unet_ridge", 1.0}}, 1e-9, false},
    {"lbfgs", {{"unet_iterations", 500}}, 1e-4, false},
    {"weight", Json::object(), 1e-12, false},
    {"sum", Json::object(), 1e-12},
    {"concat", Json::object(), 1e-12},
    {"svd", Json::object(), 1e-9},
    {"ties", {{"density", 1.0}}, 1e-12},
    {"dare", {{"density", 1.0}}, 1e-12},
    {"magnitude", {{"density", 1.0}}, 1e-12},
    {"ssr", Json::object(), 1e-12},
    {"custom_diffusion", {{"ridge", 1e-9}}, 1e-6, false},
    {"iteris", {{"rounds", 0}}, 1e-9, false},
    {"loraclr", Json::object(), 1e-9, false},
};

class EveryMethod : public testing::TestWithParam<Promise> {
 protected:
  void expect_equal(const Tensor& merged, const Tensor& wanted) const {
    const double error = (merged - wanted).abs().max().item<double>();
    EXPECT_LE(error, GetParam().tolerance) << GetParam().method;
  }
  Tensor merged(const Layer& layer) const {
    return layer.merged(GetParam().method, GetParam().options);
  }
  const mos::fuse::MethodInfo& info() const { return mos::fuse::method_info(GetParam().method); }
};

INSTANTIATE_TEST_SUITE_P(Methods, EveryMethod, testing::ValuesIn(kPromises),
                         [](const auto& row) { return row.param.method; });

TEST(MethodTable, EveryMethodIsHeldToAPromise) {
  std::vector<std::string> promised, there;
  for (const auto& promise : kPromises) promised.push_back(promise.method);
  for (const auto& info : mos::fuse::methods()) there.emplace_back(info.name);
  EXPECT_THAT(promised, testing::UnorderedElementsAreArray(there));
}

TEST_P(EveryMethod, GivesAConceptBackThatIsAlone) {
  const Layer layer({random_lora(1)});
  expect_equal(merged(layer), layer.delta(0));
}

TEST_P(EveryMethod, GivesADenseConceptBackIfItTakesOne) {
  if (info().forms == mos::fuse::Forms::kLowRank) return;
  const Layer layer({random_dense(1)});
  expect_equal(merged(layer), layer.delta(0));
}

TEST_P(EveryMethod, TakesLowRankAndDenseUpdatesTogether) {
  if (info().forms == mos::fuse::Forms::kLowRank) return;
  const auto lora = random_lora(1);
  const Layer mixed({lora, random_dense(2)});
  const Layer dense({Update{.dense = lora.matrix()}, random_dense(2)});
  expect_equal(merged(mixed), merged(dense));
}

TEST_P(EveryMethod, AConceptOfWeightZeroChangesNothing) {
  Layer both({random_lora(1), random_lora(2)});
  Layer alone({random_lora(1)});
  both.problem().weights = {1.0, 0.0};
  expect_equal(merged(both), merged(alone));
}

TEST_P(EveryMethod, ALayerThatOneConceptTouchesIsMerged) {
  const Layer layer({random_lora(1), Update{}});
  const auto result = merged(layer);
  EXPECT_TRUE(torch::isfinite(result).all().item<bool>());
  EXPECT_GT(result.norm().item<double>(), 0.0);
  if (GetParam().keeps_what_one_touches) expect_equal(result, layer.delta(0));
}

TEST_P(EveryMethod, ALayerWithoutWeightStaysAsItIs) {
  Layer layer({random_lora(1), Update{}});
  layer.problem().weights = {0.0, 1.0};
  EXPECT_LE(merged(layer).norm().item<double>(), 1e-12);
}

TEST_P(EveryMethod, TheSameProblemHasTheSameSolution) {
  const Layer layer({random_lora(1), random_lora(2), random_lora(3)});
  EXPECT_TRUE(merged(layer).equal(merged(layer)));
}

TEST_P(EveryMethod, AConceptAndItsNegativeCancelWhereWeightsAreFactors) {
  const std::vector<double> opposite = {1.0, -1.0};
  if (info().weighting != Weighting::kFactors) {
    EXPECT_THROW(mos::fuse::concept_weights(info().weighting, opposite, 2), mos::Error);
    return;
  }
  Layer layer({random_lora(1), random_lora(1)});
  layer.problem().weights = mos::fuse::concept_weights(info().weighting, opposite, 2);
  EXPECT_LE(merged(layer).norm().item<double>(), 1e-12);
}

TEST_P(EveryMethod, RefusesAnOptionThatItDoesNotHave) {
  try {
    mos::fuse::make_method(GetParam().method, {{"no_such_option", 1}});
    ADD_FAILURE() << "nothing was thrown";
  } catch (const mos::Error& error) {
    EXPECT_EQ(error.kind(), mos::ErrorKind::kUsage);
    EXPECT_THAT(error.what(), HasSubstr(GetParam().method));
    EXPECT_THAT(error.what(), HasSubstr("no_such_option"));
  }
}

TEST_P(EveryMethod, WritesItsOptionsAsItReadsThem) {
  const auto method = mos::fuse::make_method(GetParam().method, GetParam().options);
  const auto written = options_of(*method);
  for (const auto& [name, value] : GetParam().options.items()) EXPECT_EQ(written.at(name), value);
  EXPECT_EQ(options_of(*mos::fuse::make_method(GetParam().method, written)), written);
}

TEST(MethodTable, NamesTheNearestMethod) {
  try {
    mos::fuse::method_info("tise");
    ADD_FAILURE() << "nothing was thrown";
  } catch (const mos::Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("did you mean 'ties'"));
  }
}

// ---- Each against its published definition, on matrices and rows as they are ----

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

TEST(CustomDiffusion, MeetsItsConstraintsWhenTheRidgeVanishes) {
  const Layer layer({random_lora(1), random_lora(2)}, 3);
  const auto merged = layer.merged("custom_diffusion", {{"ridge", 1e-8}});
  for (std::size_t i = 0; i < 2; ++i) {
    const auto& words = layer.inputs()[i];
    EXPECT_TRUE(torch::allclose(torch::matmul(words, merged.t()),
                                torch::matmul(words, layer.delta(i).t()), 1e-4, 1e-4));
  }
}

TEST(Iteris, AsksTheMergedModelOnItsInputsForWhatEachConceptPutsOutOnItsOwn) {
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
  // min Σ c_i ‖W X̃_i − W_i X_i‖² + λ ‖W − W0 − average‖², as one least-squares problem in W.
  const double lambda = kRidge * trace / static_cast<double>(mos::tiny::kInputs);
  const auto pull = std::sqrt(lambda) * torch::eye(mos::tiny::kInputs, torch::kFloat64);
  const auto average = base + 0.5 * (layer.delta(0) + layer.delta(1));
  std::vector<Tensor> rows = {pull}, wanted = {torch::matmul(pull, average.t())};
  for (std::size_t i = 0; i < 2; ++i) {
    rows.push_back(std::sqrt(c[i]) * again[i]);
    const auto own = base + layer.delta(i);
    wanted.push_back(std::sqrt(c[i]) * torch::matmul(layer.inputs()[i], own.t()));
  }
  const auto weight = std::get<0>(torch::linalg_lstsq(torch::cat(rows), torch::cat(wanted),
                                                      c10::nullopt, c10::nullopt))
                          .t();
  EXPECT_TRUE(
      torch::allclose(layer.merged("iteris", {{"unet_ridge", kRidge}}), weight - base, 1e-8, 1e-8));
}

TEST(Iteris, InputsThatTheMergedModelSeesAlikeChangeNothing) {
  Layer layer({random_lora(1), random_lora(2)});
  const auto before = layer.merged("gradient", {{"unet_ridge", 0.1}});
  layer.see_again(layer.inputs());
  EXPECT_TRUE(torch::allclose(layer.merged("gradient", {{"unet_ridge", 0.1}}), before, 1e-9, 1e-9));
}

/// LoRACLR's loss of the weight [O,I], on all rows, by automatic differentiation.
Tensor contrastive_loss(const Layer& layer, const Tensor& weight, double margin) {
  const auto& base = layer.problem().weight;
  std::vector<Tensor> put_out, wanted;
  for (std::size_t i = 0; i < layer.inputs().size(); ++i) {
    put_out.push_back(torch::matmul(layer.inputs()[i], weight.t()));
    wanted.push_back(torch::matmul(layer.inputs()[i], (base + layer.delta(i)).t()));
  }
  auto loss = 0.1 * torch::mse_loss(torch::stack(put_out), torch::stack(wanted));
  for (std::size_t i = 0; i < put_out.size(); ++i) {
    std::vector<Tensor> others;
    for (std::size_t j = 0; j < wanted.size(); ++j) {
      if (j != i) others.push_back((put_out[i] - wanted[j]).norm());
    }
    const auto own = (put_out[i] - wanted[i]).square().sum();
    const auto push = torch::relu(margin - torch::stack(others).min()).square();
    loss = loss + (own + push) / static_cast<double>(put_out.size());
  }
  return loss;
}

TEST(Loraclr, FollowsTheContrastiveLossOfItsPaper) {
  Layer layer({random_lora(1), random_lora(2), random_lora(3)}, 6);
  layer.problem().weights.assign(3, 1.0 / 3.0);
  constexpr double kMargin = 40.0, kRate = 1e-2;  // some of the distances are below that margin
  constexpr std::int64_t kIterations = 6;
  const auto& base = layer.problem().weight;
  const auto start = (layer.delta(0) + layer.delta(1) + layer.delta(2)) / 3.0;
  // Adam by hand, beside the optimiser of LibTorch that the method has.
  auto offset = torch::zeros_like(start), mean = torch::zeros_like(start),
       square = torch::zeros_like(start), best = start.clone();
  double lowest = 1e300;
  for (std::int64_t step = 1; step <= kIterations; ++step) {
    auto leaf = offset.detach().clone().requires_grad_();
    const auto length = step == 1 ? torch::zeros({}, torch::kFloat64) : leaf.norm();
    const auto loss = contrastive_loss(layer, base + start + leaf, kMargin) + 1e-3 * length;
    if (loss.item<double>() < lowest) {
      lowest = loss.item<double>();
      best = (start + leaf).detach().clone();
    }
    const auto gradient = torch::autograd::grad({loss}, {leaf}).front();
    mean = 0.9 * mean + 0.1 * gradient;
    square = 0.999 * square + 0.001 * gradient.square();
    const double n = static_cast<double>(step);
    const auto direction =
        mean / (1.0 - std::pow(0.9, n)) / ((square / (1.0 - std::pow(0.999, n))).sqrt() + 1e-8);
    offset = (1.0 - kRate * 1e-4) * offset - kRate * direction;
  }
  const Json options = {{"iterations", kIterations}, {"rate", kRate}, {"margin", kMargin}};
  EXPECT_FALSE(torch::allclose(best, start));
  EXPECT_TRUE(torch::allclose(layer.merged("loraclr", options), best, 1e-7, 1e-7));
}

}  // namespace
