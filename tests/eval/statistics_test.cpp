#include "mos/eval/statistics.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <vector>

namespace mos::eval {
namespace {

/// The mean of the rows and columns that were drawn, pair by pair.
double mean_of(const torch::Tensor& values, const std::array<int, 3>& rows,
               const std::array<int, 2>& columns) {
  double sum = 0.0;
  for (const int row : rows) {
    for (const int column : columns) sum += values[row][column].item<double>();
  }
  return sum / 6.0;
}

/// All 27 · 4 resamples of three prompts and two seeds, sorted: the distribution itself.
std::vector<double> every_resample(const torch::Tensor& values) {
  std::vector<double> means;
  for (int i = 0; i < 27 * 4; ++i) {
    means.push_back(mean_of(values, {i % 3, i / 3 % 3, i / 9 % 3}, {i / 27 % 2, i / 54}));
  }
  std::sort(means.begin(), means.end());
  return means;
}

TEST(Bootstrap, HasTheBoundsOfAllResamplesThatThereAre) {
  const auto values = torch::tensor({{0.1, 0.4}, {0.5, 0.35}, {0.9, 1.3}}, torch::kFloat64);
  const auto exact = every_resample(values);
  const auto interval = bootstrap(values, {.resamples = 20000, .level = 0.5});
  EXPECT_NEAR(interval.mean, values.mean().item<double>(), 1e-12);
  // A quarter of the resamples lies below, one above; neighbours are at most 0.03 apart there.
  EXPECT_NEAR(interval.low, exact[27], 0.03);
  EXPECT_NEAR(interval.high, exact[80], 0.03);
  const auto wide = bootstrap(values, {.resamples = 20000, .level = 0.95});
  EXPECT_NEAR(wide.low, exact[2], 0.05);
  EXPECT_NEAR(wide.high, exact[105], 0.05);
}

TEST(Bootstrap, DrawsPromptsAsAWhole) {
  // Seeds agree, prompts do not: as uncertain with one seed as with fifty.
  const auto prompts = torch::tensor({0.0, 0.2, 0.4, 0.9, 1.0}, torch::kFloat64).view({5, 1});
  const auto one = bootstrap(prompts), many = bootstrap(prompts.expand({5, 50}));
  EXPECT_NEAR(one.high - one.low, many.high - many.low, 0.02);
  EXPECT_GT(one.high - one.low, 0.5);
}

TEST(Bootstrap, DrawsTuningsAsAWhole) {
  // Prompts and seeds agree, tunings do not: more prompts and seeds make nothing surer.
  const auto tunings = torch::tensor({0.2, 0.5, 0.8}, torch::kFloat64).view({3, 1, 1});
  const auto few = bootstrap(tunings), many = bootstrap(tunings.expand({3, 20, 8}));
  EXPECT_NEAR(few.mean, 0.5, 1e-12);
  EXPECT_NEAR(many.low, few.low, 1e-12);
  EXPECT_NEAR(few.low, 0.2, 1e-12);  // one resample of 27 has the lowest alone, more than 2.5 %
  EXPECT_NEAR(few.high, 0.8, 1e-12);
}

TEST(Bootstrap, OfOneTuningIsThatOfItsTable) {
  const auto table = torch::rand({4, 3}, torch::kFloat64);
  const auto plain = bootstrap(table), only = bootstrap(table.unsqueeze(0));
  EXPECT_EQ(plain.low, only.low);
  EXPECT_EQ(plain.high, only.high);
  // The same tuning twice is no other than once.
  const auto twice = bootstrap(table.unsqueeze(0).expand({2, 4, 3}));
  EXPECT_NEAR(twice.low, plain.low, 1e-12);
}

TEST(Bootstrap, IsTheSameEveryTimeAndOfOneValueThatValue) {
  const auto values = torch::rand({4, 3}, torch::kFloat64);
  EXPECT_EQ(bootstrap(values).low, bootstrap(values).low);
  const auto one = bootstrap(torch::full({1, 1}, 0.25, torch::kFloat64));
  EXPECT_EQ(one.low, 0.25);
  EXPECT_EQ(one.high, 0.25);
}

TEST(ShareOf, IsWilsonsInterval) {
  const auto share = share_of(8, 10);  // published: 0.490 to 0.943
  EXPECT_NEAR(share.mean, 0.8, 1e-12);
  EXPECT_NEAR(share.low, 0.4902, 1e-4);
  EXPECT_NEAR(share.high, 0.9433, 1e-4);
  EXPECT_EQ(share_of(0, 0).high, 1.0);
  EXPECT_EQ(share_of(0, 5).low, 0.0);
}

}  // namespace
}  // namespace mos::eval
