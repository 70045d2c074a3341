#include "mos/fuse/solver.h"

#include <gtest/gtest.h>

#include <cmath>

#include "mos/base/error.h"
#include "mos/base/random.h"
#include "mos/fuse/fit.h"
#include "mos/fuse/methods/lbfgs.h"

namespace {

using mos::fuse::InputGram;
using mos::fuse::LayerWish;
using mos::fuse::RidgeSolver;
using mos::fuse::Update;
using torch::Tensor;

constexpr std::int64_t kOutputs = 5;
constexpr std::int64_t kInputs = 8;

struct Concept {
  Update update;
  Tensor rows;  ///< [N,I]
  Tensor delta() const { return torch::matmul(update.up, update.down); }
};

Tensor random_f64(at::IntArrayRef shape, std::uint64_t seed) {
  auto generator = mos::seeded_generator(seed);
  return mos::randn(shape, generator).to(torch::kFloat64);
}

Concept random_concept(std::int64_t rows, std::uint64_t seed) {
  return {.update = {.up = random_f64({kOutputs, 2}, seed),
                     .down = random_f64({2, kInputs}, seed + 100)},
          .rows = random_f64({rows, kInputs}, seed + 200)};
}

struct Problem {
  LayerWish wish{kOutputs, kInputs};
  InputGram total{kInputs};
};

Problem problem_of(const std::vector<Concept>& concepts) {
  Problem problem;
  for (const auto& source : concepts) {
    const auto gram = InputGram::from_samples(source.rows);
    problem.wish.add(source.update, gram);
    problem.total.merge(gram);
  }
  return problem;
}

/// The sum of squares that fusion minimises, from the stored rows.
double objective(const Tensor& delta, const std::vector<Concept>& concepts) {
  double sum = 0.0;
  for (const auto& source : concepts) {
    sum += torch::matmul(source.rows, (delta - source.delta()).t()).square().sum().item<double>();
  }
  return sum;
}

TEST(RidgeSolver, FindsTheMinimum) {
  const std::vector concepts{random_concept(30, 1), random_concept(20, 2)};
  const auto [wish, total] = problem_of(concepts);
  const auto delta = torch::matmul(wish.up(), RidgeSolver(total, 0.0).solve(wish));
  const double best = objective(delta, concepts);
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    EXPECT_GT(objective(delta + 1e-4 * random_f64({kOutputs, kInputs}, 50 + seed), concepts), best);
  }
}

TEST(RidgeSolver, AgreesWithALeastSquaresSolverOnStoredActivations) {
  const std::vector concepts{random_concept(30, 3), random_concept(12, 4)};
  const auto [wish, total] = problem_of(concepts);
  const auto rows = torch::cat({concepts[0].rows, concepts[1].rows});
  const auto wanted = torch::cat({torch::matmul(concepts[0].rows, concepts[0].delta().t()),
                                  torch::matmul(concepts[1].rows, concepts[1].delta().t())});
  const auto expected =
      std::get<0>(torch::linalg_lstsq(rows, wanted, c10::nullopt, c10::nullopt)).t();
  const auto delta = torch::matmul(wish.up(), RidgeSolver(total, 0.0).solve(wish));
  EXPECT_TRUE(torch::allclose(delta, expected, 1e-9, 1e-9));
}

TEST(RidgeSolver, OneConceptAloneComesBackAsItWas) {
  const std::vector concepts{random_concept(40, 5)};
  const auto [wish, total] = problem_of(concepts);
  const auto m = RidgeSolver(total, 0.0).solve(wish);
  EXPECT_TRUE(torch::allclose(m, concepts[0].update.down, 1e-9, 1e-9));
}

TEST(RidgeSolver, ConceptsOnDisjointInputsAreBothKept) {
  // One only ever excites input 0, the other only input 1; nobody excites the rest.
  std::vector concepts{random_concept(3, 6), random_concept(3, 7)};
  for (const std::int64_t axis : {0, 1}) {
    auto& rows = concepts[static_cast<std::size_t>(axis)].rows;
    rows = torch::zeros_like(rows);
    rows.select(1, axis).fill_(1.0 + static_cast<double>(axis));
  }
  const auto [wish, total] = problem_of(concepts);
  const auto delta = torch::matmul(wish.up(), RidgeSolver(total, 1e-12).solve(wish));
  EXPECT_TRUE(torch::allclose(delta.select(1, 0), concepts[0].delta().select(1, 0), 1e-6, 1e-6));
  EXPECT_TRUE(torch::allclose(delta.select(1, 1), concepts[1].delta().select(1, 1), 1e-6, 1e-6));
  EXPECT_LT(delta.slice(1, 2).abs().max().item<double>(), 1e-9);
}

TEST(RidgeSolver, TheDualFormGivesThePrimalSolution) {
  const std::vector concepts{random_concept(3, 8), random_concept(2, 9)};
  const auto [wish, total] = problem_of(concepts);
  for (const double ridge : {1e-1, 1e-3, 1e-6}) {
    const RidgeSolver dual(total, ridge);
    const RidgeSolver primal(InputGram::from_matrix(total.matrix(), total.rows()), ridge);
    ASSERT_TRUE(dual.dual());
    ASSERT_FALSE(primal.dual());
    EXPECT_TRUE(torch::allclose(dual.solve(wish), primal.solve(wish), 1e-7, 1e-7)) << ridge;
  }
}

TEST(RidgeSolver, AStrongRidgeLeavesTheBaseModel) {
  const std::vector concepts{random_concept(30, 10), random_concept(30, 11)};
  const auto [wish, total] = problem_of(concepts);
  double norm = 1e30;
  for (const double ridge : {0.0, 1e-2, 1.0, 1e2, 1e6}) {
    const auto delta = torch::matmul(wish.up(), RidgeSolver(total, ridge).solve(wish));
    EXPECT_LT(delta.norm().item<double>(), norm) << ridge;
    norm = delta.norm().item<double>();
  }
  EXPECT_LT(norm, 1e-3);
}

/// stack_i(share · down_i): what the ridge leads to.
Tensor share_of_all(const std::vector<Concept>& concepts, double share) {
  std::vector<Tensor> parts;
  for (const auto& source : concepts) parts.push_back(share * source.update.down);
  return torch::cat(parts);
}

TEST(RidgeSolver, ARidgeTowardsTheAverageGoesFromTheMinimumToWeightFusion) {
  const std::vector concepts{random_concept(30, 20), random_concept(30, 21)};
  const auto [wish, total] = problem_of(concepts);
  const auto prior = share_of_all(concepts, 0.5);
  const auto average = torch::matmul(wish.up(), prior);
  double last = objective(torch::matmul(wish.up(), RidgeSolver(total, 0.0).solve(wish)), concepts);
  EXPECT_LT(last, objective(average, concepts));
  for (const double ridge : {1e-4, 1e-2, 1.0, 1e2, 1e8}) {
    const auto delta = torch::matmul(wish.up(), RidgeSolver(total, ridge).solve(wish, prior));
    EXPECT_GE(objective(delta, concepts), last - 1e-9) << ridge;
    EXPECT_LE(objective(delta, concepts), objective(average, concepts)) << ridge;
    last = objective(delta, concepts);
  }
  EXPECT_NEAR(last, objective(average, concepts), 1e-3 * last);
}

TEST(RidgeSolver, DirectionsThatNobodyExcitesGetThePrior) {
  auto concepts = std::vector{random_concept(20, 22), random_concept(20, 23)};
  for (auto& source : concepts) source.rows.slice(1, 4).zero_();
  const auto [wish, total] = problem_of(concepts);
  const auto m = RidgeSolver(total, 1e-9).solve(wish, share_of_all(concepts, 0.5));
  EXPECT_TRUE(torch::allclose(m.slice(1, 4), share_of_all(concepts, 0.5).slice(1, 4), 1e-6, 1e-6));
}

TEST(RidgeSolver, TheDualFormGivesThePrimalSolutionWithAPrior) {
  const std::vector concepts{random_concept(3, 24), random_concept(2, 25)};
  const auto [wish, total] = problem_of(concepts);
  const auto prior = share_of_all(concepts, 0.5);
  const RidgeSolver dual(total, 1e-3);
  const RidgeSolver primal(InputGram::from_matrix(total.matrix(), total.rows()), 1e-3);
  ASSERT_TRUE(dual.dual());
  ASSERT_FALSE(primal.dual());
  EXPECT_TRUE(torch::allclose(dual.solve(wish, prior), primal.solve(wish, prior), 1e-7, 1e-7));
}

TEST(RidgeSolver, RaisesARidgeThatIsTooSmallAndSaysSo) {
  auto flat = random_concept(20, 12);
  flat.rows.slice(1, 4).zero_();  // half of the inputs are never excited
  const auto [wish, total] = problem_of({flat});
  const RidgeSolver solver(total, 0.0);
  EXPECT_GT(solver.relative_ridge(), 0.0);
  EXPECT_LT(solver.relative_ridge(), 1e-10);
  const auto delta = torch::matmul(wish.up(), solver.solve(wish));
  EXPECT_LT(objective(delta, {flat}), 1e-15);
}

TEST(RidgeSolver, RefusesARidgeThatMakesNoSenseAndInputsThatAreNoNumbers) {
  EXPECT_THROW(RidgeSolver(InputGram(3), -1.0), mos::Error);
  EXPECT_THROW(RidgeSolver(InputGram(3), std::nan("")), mos::Error);
  const auto broken = InputGram::from_samples(torch::full({9, 3}, std::nanf("")));
  EXPECT_THROW(RidgeSolver(broken, 1e-2), mos::Error);
}

TEST(LayerWish, AConceptWithoutLoraAsksTheLayerToStay) {
  const auto tuned = random_concept(30, 13);
  const auto rows = random_f64({300, kInputs}, 14);
  Problem problem = problem_of({tuned});
  const auto alone =
      torch::matmul(problem.wish.up(), RidgeSolver(problem.total, 0.0).solve(problem.wish));
  const auto gram = InputGram::from_samples(rows);
  problem.wish.add({}, gram);
  problem.total.merge(gram);
  const auto both =
      torch::matmul(problem.wish.up(), RidgeSolver(problem.total, 0.0).solve(problem.wish));
  EXPECT_LT(torch::matmul(rows, both.t()).norm().item<double>(),
            0.2 * torch::matmul(rows, alone.t()).norm().item<double>());

  Problem few = problem_of({random_concept(2, 15)});  // the same in the space of the rows
  const auto one = InputGram::from_samples(random_f64({1, kInputs}, 16));
  few.wish.add({}, one);
  few.total.merge(one);
  const auto delta = torch::matmul(few.wish.up(), RidgeSolver(few.total, 0.0).solve(few.wish));
  EXPECT_LT(torch::matmul(one.samples(), delta.t()).norm().item<double>(), 1e-6);
}

TEST(LayerWish, SumsAreAdditiveInAnyGrouping) {
  const std::vector concepts{random_concept(30, 17), random_concept(20, 18),
                             random_concept(25, 19)};
  const auto [wish, total] = problem_of(concepts);
  const auto together = torch::matmul(wish.up(), RidgeSolver(total, 1e-6).solve(wish));

  const auto [reversed_wish, reversed_total] = problem_of({concepts[2], concepts[1], concepts[0]});
  const auto reversed =
      torch::matmul(reversed_wish.up(), RidgeSolver(reversed_total, 1e-6).solve(reversed_wish));
  EXPECT_TRUE(torch::allclose(together, reversed, 1e-10, 1e-10));

  // A client that sends up, down·G and G spares the centre its activations.
  Problem reduced = problem_of({concepts[0], concepts[1]});
  const auto gram = InputGram::from_samples(concepts[2].rows);
  reduced.wish.add_reduced(concepts[2].update.up, gram.times(concepts[2].update.down), 0.0);
  reduced.total.merge(gram);
  const auto later =
      torch::matmul(reduced.wish.up(), RidgeSolver(reduced.total, 1e-6).solve(reduced.wish));
  EXPECT_TRUE(torch::allclose(together, later, 1e-10, 1e-10));
}

TEST(LayerWish, RefusesFactorsThatDoNotFit) {
  LayerWish wish(kOutputs, kInputs);
  const InputGram inputs(kInputs);
  EXPECT_THROW(wish.add({torch::ones({4, 2}), torch::ones({2, kInputs})}, inputs), mos::Error);
  EXPECT_THROW(wish.add({torch::ones({kOutputs, 2}), torch::ones({3, kInputs})}, inputs),
               mos::Error);
  EXPECT_THROW(wish.add({torch::ones({kOutputs, 2}), torch::ones({2, 7})}, inputs), mos::Error);
}

TEST(Lbfgs, ReachesTheExactOptimumOfAWellConditionedProblem) {
  const std::vector concepts{random_concept(200, 20), random_concept(150, 21)};
  const auto [wish, total] = problem_of(concepts);
  const auto exact = torch::matmul(wish.up(), RidgeSolver(total, 0.0).solve(wish));
  const auto m = mos::fuse::solve_lbfgs(wish, total, {.max_iterations = 100});
  EXPECT_TRUE(torch::allclose(torch::matmul(wish.up(), m), exact, 1e-5, 1e-5));
}

TEST(Lbfgs, GetsBetterWithEveryAllowanceAndNeverBeatsTheExactSolution) {
  const std::vector concepts{random_concept(30, 22), random_concept(20, 23)};
  const auto [wish, total] = problem_of(concepts);
  const auto exact = torch::matmul(wish.up(), RidgeSolver(total, 0.0).solve(wish));
  double before = objective(torch::zeros_like(exact), concepts);
  for (const std::int64_t iterations : {2, 6, 20}) {
    const auto m = mos::fuse::solve_lbfgs(wish, total, {.max_iterations = iterations});
    const double after = objective(torch::matmul(wish.up(), m), concepts);
    EXPECT_LT(after, before) << iterations;
    EXPECT_GE(after, objective(exact, concepts) * (1.0 - 1e-12)) << iterations;
    before = after;
  }
}

TEST(ConceptFit, EqualsTheErrorsOfStoredActivations) {
  for (const std::int64_t rows : {3, 30}) {
    const std::vector concepts{random_concept(rows, 24), random_concept(rows + 1, 25)};
    const auto [wish, total] = problem_of(concepts);
    const auto m = RidgeSolver(total, 1e-2).solve(wish);
    const auto fused = torch::matmul(wish.up(), m);
    for (std::size_t i = 0; i < 2; ++i) {
      const auto& own = concepts[i];
      const auto mean_square = [&](const Tensor& delta) {
        return torch::matmul(own.rows, delta.t()).square().mean().item<double>();
      };
      const auto other =
          torch::matmul(concepts[1 - i].update.up, m.slice(0, i == 0 ? 2 : 0, i == 0 ? 4 : 2));
      const mos::fuse::Merged merged{.update = {.up = wish.up(), .down = m},
                                     .offsets = wish.offsets()};
      const auto fit =
          mos::fuse::concept_fit(merged, own.update, i, InputGram::from_samples(own.rows));
      EXPECT_NEAR(fit.before, mean_square(own.delta()), 1e-10);
      EXPECT_NEAR(fit.after, mean_square(fused - own.delta()), 1e-10);
      EXPECT_NEAR(fit.crosstalk.value(), mean_square(other), 1e-10);
    }
  }
}

TEST(ConceptFit, TellsWhatEachOfTheOthersPutsOut) {
  const std::vector concepts{random_concept(9, 24), random_concept(8, 25), random_concept(7, 26)};
  const auto [wish, total] = problem_of(concepts);
  const auto m = RidgeSolver(total, 1e-2).solve(wish);
  const mos::fuse::Merged merged{.update = {.up = wish.up(), .down = m}, .offsets = wish.offsets()};
  const auto fit = mos::fuse::concept_fit(merged, concepts[1].update, 1,
                                          InputGram::from_samples(concepts[1].rows));
  ASSERT_EQ(fit.crosstalk_from.size(), 3U);
  EXPECT_EQ(fit.crosstalk_from[1], 0.0);
  for (const std::size_t j : {0U, 2U}) {
    const auto part =
        torch::matmul(concepts[j].update.up, m.slice(0, wish.offsets()[j], wish.offsets()[j + 1]));
    EXPECT_NEAR(fit.crosstalk_from[j],
                torch::matmul(concepts[1].rows, part.t()).square().mean().item<double>(), 1e-10);
  }
}

}  // namespace
