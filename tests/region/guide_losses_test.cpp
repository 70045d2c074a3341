#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <tuple>

#include "mos/base/random.h"
#include "mos/region/guide.h"
#include "mos/region/guides/guides.h"
#include "tests/support/difference.h"

/// Losses of guides against the sums of their authors' programs, position by position.
namespace mos::region {
namespace {

using test::difference;
using torch::Tensor;

constexpr std::int64_t kRows = 5, kColumns = 6, kPlaces = kRows * kColumns;
constexpr std::int64_t kHeads = 2, kWords = 6;
constexpr double kNever = -std::numeric_limits<double>::infinity();

/// Attention of layers of one size at random, and two subjects in boxes that leave some of it.
class Losses : public testing::Test {
 protected:
  Losses() {
    for (const bool is_cross : {true, false, true, false}) {
      scores_.push_back(randn({kHeads, kPlaces, is_cross ? kWords : kPlaces}, generator_));
      SeenLayer layer{.size = {kRows, kColumns}};
      layer.place.is_cross = is_cross;
      const auto looks = scores_.back().softmax(-1);
      if (is_cross) {
        layer.texts = {looks};
      } else {
        layer.self = looks;
      }
      seen_.layers.push_back(layer);
    }
    seen_.subjects = {{"cat", 0, {1, 2}, {.box = Box{.right = 1.0 / 3}}, {4}},
                      {"fox", 0, {4}, {.box = Box{.top = 0.3, .left = 0.5}}, {1, 2}}};
  }

  /// Whether a position is in the box of subject `s`, for the boxes above.
  static bool is_in(std::size_t s, std::int64_t place) {
    const auto row = place / kColumns, column = place % kColumns;
    return s == 0 ? column < 2 : row >= 2 && column >= 3;
  }
  static bool is_free(std::int64_t place) { return !is_in(0, place) && !is_in(1, place); }

  /// A layer's softmax where words of others are not read in a box, and boxes do not see each
  /// other: from its scores, for the box of subject `s`.
  Tensor masked(std::size_t layer, std::size_t s) const {
    auto scores = scores_[layer].clone();
    const bool is_cross = seen_.layers[layer].place.is_cross;
    for (std::int64_t q = 0; q < kPlaces; ++q) {
      if (!is_in(s, q)) continue;
      for (std::int64_t k = 0; !is_cross && k < kPlaces; ++k) {
        if (!is_in(s, k) && !is_free(k)) scores.select(1, q).select(1, k).fill_(kNever);
      }
      for (const auto k : seen_.subjects[s].hidden) {
        if (is_cross) scores.select(1, q).select(1, k).fill_(kNever);
      }
    }
    return scores.softmax(-1);
  }

  /// The mean of both layers' attention to the words of subject `s`: [kRows,kColumns] each.
  std::vector<Tensor> maps_of(std::size_t s) const {
    std::vector<Tensor> maps;
    for (const auto word : seen_.subjects[s].columns) {
      const auto& first = seen_.layers[0].texts[0];
      const auto& second = seen_.layers[2].texts[0];
      const auto mean = (first.select(2, word).mean(0) + second.select(2, word).mean(0)) / 2.0;
      maps.push_back(mean.view({kRows, kColumns}));
    }
    return maps;
  }

  at::Generator generator_ = seeded_generator(3);
  std::vector<Tensor> scores_;
  Seen seen_;
};

TEST_F(Losses, OfBoundedAttentionIsTheAuthors) {
  double expected = 0.0;
  for (std::size_t s = 0; s < 2; ++s) {
    double inside[2] = {}, outside[2] = {};  // of cross- and of self-attention
    for (std::size_t layer = 0; layer < seen_.layers.size(); ++layer) {
      const bool is_cross = seen_.layers[layer].place.is_cross;
      const auto looks = masked(layer, s).sum(0);
      for (std::int64_t q = 0; q < kPlaces; ++q) {
        double at_it = 0.0;
        for (std::int64_t k = 0; k < looks.size(1); ++k) {
          const auto& words = seen_.subjects[s].columns;
          const bool is_its =
              is_cross ? std::find(words.begin(), words.end(), k) != words.end() : is_in(s, k);
          if (is_its) at_it += looks[q][k].item<double>();
        }
        if (is_in(s, q)) inside[is_cross ? 0 : 1] += at_it;
        if (is_free(q)) outside[is_cross ? 0 : 1] += at_it;
      }
    }
    for (const int kind : {0, 1}) {
      const double iou = inside[kind] / (inside[kind] + 2.0 * outside[kind]);
      expected += (kind == 0 ? 1.5 : 0.5) * (1.0 - iou) * (1.0 - iou);
    }
  }
  const auto guide = guide_info(Guide::kBounded).make();
  EXPECT_NEAR(guide->loss(seen_).item<double>(), expected, 1e-5);
}

TEST_F(Losses, OfBoundedAttentionIsEnoughForEachSubject) {
  const auto guide = guide_info(Guide::kBounded).make();
  const auto first = guide->step_at({.index = 0, .total = 50, .subjects = 3});
  EXPECT_NEAR(first.enough, 0.6, 1e-12);
  EXPECT_EQ(first.most + first.always, 5);
  EXPECT_NEAR(first.size, 8.0, 1e-12);
  EXPECT_NEAR(guide->step_at({.index = 14, .total = 50}).size, 8.0 - 6.0 * 14 / 15, 1e-12);
  EXPECT_EQ(guide->step_at({.index = 15, .total = 50}).always, 0);
}

TEST_F(Losses, IsolatedSelfAttentionIsASoftmaxOverWhatIsSeen) {
  const auto looks = isolated_self(seen_, seen_.layers[1]);
  for (std::size_t s = 0; s < 2; ++s) {
    const auto expected = masked(1, s);
    for (std::int64_t q = 0; q < kPlaces; ++q) {
      if (!is_in(s, q) && !is_free(q)) continue;
      EXPECT_LT(difference(looks.select(1, q), expected.select(1, q)), 1e-6) << s << " " << q;
    }
  }
}

/// The weights of the authors' Gaussian smoothing of three positions, in one direction.
double smoothing_at(std::int64_t offset) {
  const double side = std::exp(-1.0);
  return (offset == 0 ? 1.0 : side) / (1.0 + 2.0 * side);
}

/// A map through it, with mirrored edges.
Tensor smoothed_by_hand(const Tensor& map) {
  const auto mirrored = [](std::int64_t at, std::int64_t size) {
    return at < 0 ? -at : at >= size ? 2 * size - 2 - at : at;
  };
  auto result = torch::zeros_like(map);
  for (std::int64_t r = 0; r < kRows; ++r) {
    for (std::int64_t c = 0; c < kColumns; ++c) {
      for (std::int64_t i = -1; i <= 1; ++i) {
        for (std::int64_t j = -1; j <= 1; ++j) {
          result[r][c] += smoothing_at(i) * smoothing_at(j) *
                          map[mirrored(r + i, kRows)][mirrored(c + j, kColumns)];
        }
      }
    }
  }
  return result;
}

TEST_F(Losses, OfLoraComposerIsTheAuthors) {
  double expected = 0.0;
  for (std::size_t s = 0; s < 2; ++s) {
    const std::int64_t most = s == 0 ? 2 : 1;  // a fifth of 10 and of 9 positions
    auto mask = torch::zeros({kRows, kColumns}), weights = mask.clone();
    for (std::int64_t q = 0; q < kPlaces; ++q) {
      if (!is_in(s, q)) continue;
      const auto row = q / kColumns, column = q % kColumns;
      // From −1 to 1 over five rows and, at both ends, two columns; over three of each.
      const double down =
          s == 0 ? -1.0 + 0.5 * static_cast<double>(row) : static_cast<double>(row) - 3.0;
      const double across = s == 0 ? 0.0 : static_cast<double>(column) - 4.0;
      mask[row][column] = 1.0;
      weights[row][column] = std::exp(-(down * down + across * across) / 2.0);
    }
    for (const auto& raw : maps_of(s)) {
      const auto map = smoothed_by_hand(raw);
      const auto strongest = std::get<0>((map * weights).flatten().topk(most)).mean();
      expected += 8.0 * (1.0 - strongest.item<double>());
      for (const int dim : {0, 1}) {
        const auto filled = (map * mask).amax(dim) - mask.amax(dim);
        expected += 2.0 * filled.abs().mean().item<double>();
      }
    }
    std::vector<double> leaving;
    const auto looks = (masked(1, s).mean(0) + masked(3, s).mean(0)) / 2.0;
    for (std::int64_t q = 0; q < kPlaces; ++q) {
      for (std::int64_t k = 0; k < kPlaces; ++k) {
        if (is_in(s, q) && !is_in(s, k)) leaving.push_back(looks[q][k].item<double>());
      }
    }
    std::ranges::sort(leaving, std::greater<>());
    for (std::int64_t i = 0; i < most; ++i) {
      expected += 10.0 * leaving[static_cast<std::size_t>(i)] / static_cast<double>(most);
    }
  }
  const auto guide = guide_info(Guide::kComposer).make();
  EXPECT_NEAR(guide->loss(seen_).item<double>(), expected, 1e-4);
}

TEST_F(Losses, LoraComposerBeginsWithTheNoiseThatIsSeenBest) {
  const auto sample = randn({1, 2, 2 * kRows, 2 * kColumns}, generator_);
  auto expected = sample.clone();
  for (std::size_t s = 0; s < 2; ++s) {
    auto map = torch::zeros({kRows, kColumns});
    for (const auto& of_word : maps_of(s)) map += of_word;
    const std::int64_t tall = s == 0 ? 5 : 3, wide = s == 0 ? 2 : 3;
    double best = 0.0;
    std::int64_t top = 0, left = 0;
    for (std::int64_t r = 0; r + tall <= kRows; ++r) {
      for (std::int64_t c = 0; c + wide <= kColumns; ++c) {
        const double sum = map.slice(0, r, r + tall).slice(1, c, c + wide).sum().item<double>();
        if (sum <= best) continue;
        std::tie(best, top, left) = std::tuple(sum, r, c);
      }
    }
    const auto part = [&](const Tensor& x, std::int64_t row, std::int64_t column) {
      return x.slice(2, 2 * row, 2 * (row + tall)).slice(3, 2 * column, 2 * (column + wide));
    };
    part(expected, s == 0 ? 0 : 2, s == 0 ? 0 : 3).copy_(part(sample, top, left));
  }
  expected = (expected - expected.mean()) / expected.std() * sample.std() + sample.mean();
  const auto guide = guide_info(Guide::kComposer).make();
  EXPECT_LT(difference(guide->beginning(sample, seen_), expected), 1e-5);
  const auto odd = randn({1, 2, 2 * kRows - 1, 2 * kColumns - 1}, generator_);
  EXPECT_EQ(guide->beginning(odd, seen_).sizes(), odd.sizes());
}

TEST_F(Losses, OfLoraComposerEndItsStepsWhereTheyRise) {
  const auto guide = guide_info(Guide::kComposer).make();
  EXPECT_FALSE(guide->step_at({.index = 4, .total = 50}).last_if_worse);
  EXPECT_TRUE(guide->step_at({.index = 5, .total = 50}).last_if_worse);
  EXPECT_EQ(guide->step_at({.index = 25, .total = 50}).always, 1);
  EXPECT_EQ(guide->step_at({.index = 26, .total = 50}).always, 0);
}

}  // namespace
}  // namespace mos::region
