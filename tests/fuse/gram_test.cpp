#include "mos/fuse/gram.h"

#include <gtest/gtest.h>

#include "mos/base/error.h"
#include "mos/base/random.h"

namespace {

using mos::fuse::InputGram;

torch::Tensor random_rows(at::IntArrayRef shape, std::uint64_t seed) {
  auto generator = mos::seeded_generator(seed);
  return mos::randn(shape, generator);
}

torch::Tensor moment_of(const torch::Tensor& rows) {
  const auto flat = rows.reshape({-1, rows.size(-1)}).to(torch::kFloat64);
  return torch::matmul(flat.t(), flat);
}

TEST(InputGram, IsTheMomentOfAllRowsHoweverTheyArrive) {
  const auto rows = random_rows({60, 7}, 1);
  InputGram gram(7);
  gram.add(rows.slice(0, 0, 3));
  gram.add(rows.slice(0, 3, 5));
  gram.add(rows.slice(0, 5, 60).view({5, 11, 7}));
  EXPECT_EQ(gram.rows(), 60);
  EXPECT_TRUE(torch::allclose(gram.matrix(), moment_of(rows), 1e-14, 1e-13));
  EXPECT_NEAR(gram.trace(), moment_of(rows).trace().item<double>(), 1e-12);
  EXPECT_TRUE(gram.matrix().equal(gram.matrix().t()));
}

TEST(InputGram, SumsInFloat64WhateverTheInputs) {
  // A float32 sum would lose the small rows behind the large one.
  const auto rows = torch::cat({torch::full({1, 1}, 1e6f), torch::full({5000, 1}, 0.5f)});
  InputGram gram(1);
  gram.add(rows);
  EXPECT_EQ(gram.matrix().item<double>(), 1e12 + 1250.0);

  InputGram half(4);
  const auto bf16 = random_rows({30, 4}, 2).to(torch::kBFloat16);
  half.add(bf16);
  EXPECT_TRUE(torch::allclose(half.matrix(), moment_of(bf16), 1e-14, 1e-13));
}

TEST(InputGram, KeepsTheRowsThemselvesUntilTheyOutnumberTheFeatures) {
  const auto rows = random_rows({9, 8}, 3);
  InputGram gram(8);
  gram.add(rows.slice(0, 0, 5));
  gram.add(rows.slice(0, 5, 8));
  EXPECT_TRUE(gram.samples().equal(rows.slice(0, 0, 8).to(torch::kFloat64)));
  gram.add(rows.slice(0, 8, 9));
  EXPECT_FALSE(gram.samples().defined());
}

TEST(InputGram, IsAdditive) {
  const auto rows = random_rows({40, 6}, 4);
  for (const std::int64_t cut : {2, 5, 20, 37}) {
    InputGram first(6), second(6);
    first.add(rows.slice(0, 0, cut));
    second.add(rows.slice(0, cut, 40));
    first.merge(second);
    EXPECT_EQ(first.rows(), 40);
    EXPECT_TRUE(torch::allclose(first.matrix(), moment_of(rows), 1e-14, 1e-13)) << cut;
  }
}

TEST(InputGram, ProductsAreTheSameInBothForms) {
  const auto rows = random_rows({5, 6}, 5);
  const auto left = random_rows({3, 6}, 6).to(torch::kFloat64);
  const auto few = InputGram::from_samples(rows);
  const auto dense = InputGram::from_matrix(moment_of(rows), 5);
  EXPECT_TRUE(torch::allclose(few.times(left), torch::matmul(left, moment_of(rows))));
  EXPECT_TRUE(torch::allclose(few.times(left), dense.times(left)));
  EXPECT_TRUE(torch::allclose(few.project(left), dense.project(left)));
}

TEST(InputGram, DoesNotSeeLaterChangesOfItsInput) {
  auto rows = torch::ones({2, 3}, torch::kFloat64);
  InputGram gram(3);
  gram.add(rows);
  rows.zero_();
  EXPECT_EQ(gram.trace(), 6.0);
}

TEST(InputGram, RefusesAnotherWidth) {
  InputGram gram(4);
  EXPECT_THROW(gram.add(torch::ones({2, 5})), mos::Error);
  EXPECT_THROW(gram.merge(InputGram(5)), mos::Error);
}

}  // namespace
