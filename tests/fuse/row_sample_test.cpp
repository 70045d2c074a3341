#include "mos/fuse/row_sample.h"

#include <gmock/gmock.h>

namespace {

using mos::fuse::RowSample;

/// The first numbers of the rows that are kept of `total` rows that come `piece` by piece.
std::vector<double> kept(RowSample& sample, std::int64_t total, std::int64_t piece) {
  const auto rows = torch::arange(2 * total, torch::kFloat32).view({total, 2}) / 2.0;
  for (const auto& some : rows.split(piece)) sample.add(some);
  std::vector<double> first;
  for (const auto& row : sample.rows().unbind(0)) first.push_back(row[0].item<double>());
  return first;
}

TEST(RowSample, KeepsAllOfFewRows) {
  RowSample sample(4);
  EXPECT_THAT(kept(sample, 5, 2), testing::ElementsAre(0, 1, 2, 3, 4));
  EXPECT_EQ(sample.stride(), 1);
}

TEST(RowSample, SpreadsEvenlyOverManyHoweverTheyCome) {
  for (const std::int64_t piece : {1, 3, 7, 40}) {
    RowSample sample(4);
    EXPECT_THAT(kept(sample, 40, piece), testing::ElementsAre(0, 8, 16, 24, 32)) << piece;
    EXPECT_EQ(sample.stride(), 8);
  }
}

TEST(RowSample, OfNothingKeepsNothing) {
  RowSample sample;
  sample.add(torch::ones({3, 2}));
  EXPECT_FALSE(sample.rows().defined());
}

}  // namespace
