#include <gtest/gtest.h>

#include <algorithm>
#include <limits>

#include "mos/base/random.h"
#include "mos/region/guide.h"
#include "mos/region/guides/guides.h"
#include "tests/support/difference.h"

/// Losses of guides against the sums of their authors' programs, position by position.
namespace mos::region {
namespace {

using test::difference;
using torch::Tensor;

constexpr std::int64_t kRows = 3, kColumns = 4, kPlaces = kRows * kColumns;
constexpr std::int64_t kHeads = 2, kWords = 6;
constexpr double kNever = -std::numeric_limits<double>::infinity();

/// Attention of two layers of one size at random, and two subjects in boxes that leave a column.
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
    seen_.subjects = {{"cat", 0, {1, 2}, {.box = Box{.right = 0.25}}, {4}},
                      {"fox", 0, {4}, {.box = Box{.top = 0.3, .left = 0.5}}, {1, 2}}};
  }

  /// Whether a position is in the box of subject `s`, for the boxes above.
  static bool is_in(std::size_t s, std::int64_t place) {
    const auto row = place / kColumns, column = place % kColumns;
    return s == 0 ? column == 0 : row >= 1 && column >= 2;
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

}  // namespace
}  // namespace mos::region
