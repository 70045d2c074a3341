#include "mos/region/regional_attention.h"

#include <gtest/gtest.h>

#include "mos/base/random.h"
#include "tests/support/tiny_model.h"

namespace mos::region {
namespace {

using torch::Tensor;

constexpr std::int64_t kChannels = 12, kText = 10, kTokens = 5;
constexpr double kTwoWays = 1e-5;  // two float32 ways through the same sums

/// One cross-attention layer with random weights, and random inputs for it.
struct Layer {
  explicit Layer(std::int64_t feature_height, std::int64_t feature_width, std::int64_t batch = 2)
      : height(feature_height), width(feature_width) {
    tiny::fill_randomly(*attention, generator);
    hidden = randn({batch, height * width, kChannels}, generator);
    context = text(batch);
  }

  Tensor text(std::int64_t batch) { return randn({batch, kTokens, kText}, generator); }

  /// What plain attention to `source` gives, as a map [B,h,w,C]; one entry serves the whole batch.
  Tensor plain(const Tensor& source) {
    return attention->forward(hidden, source.expand({hidden.size(0), -1, -1}))
        .unflatten(1, {height, width});
  }

  Tensor regional(const std::vector<RegionContext>& regions) {
    RegionalAttention processor(regions, height, width);
    return processor.process(*attention, hidden, context).unflatten(1, {height, width});
  }

  torch::NoGradGuard no_grad;
  at::Generator generator = seeded_generator(3);
  std::int64_t height, width;
  nn::Attention attention{nn::AttentionSize{
      .query_dim = kChannels, .heads = 2, .head_dim = 6, .cross_attention_dim = kText}};
  Tensor hidden, context;
};

void expect_close(const Tensor& actual, const Tensor& expected) {
  ASSERT_EQ(actual.sizes(), expected.sizes());
  EXPECT_LT((actual - expected).abs().max().item<double>(), kTwoWays);
}

Tensor rows(const Tensor& map, std::int64_t from, std::int64_t to) {
  return map.slice(1, from, to);
}

TEST(RegionalAttention, ARegionOfTheWholeCanvasIsPlainAttentionToItsText) {
  Layer layer(4, 6);
  const auto own = layer.text(2);
  expect_close(layer.regional({{Box{}, 1.0, own}}), layer.plain(own));
}

TEST(RegionalAttention, InsideTheBoxTheRegionIsReadAndOutsideTheContext) {
  Layer layer(4, 8);
  const auto own = layer.text(2);
  const auto result = layer.regional({{Box{.bottom = 0.5}, 1.0, own}});
  expect_close(rows(result, 0, 2), rows(layer.plain(own), 0, 2));
  expect_close(rows(result, 2, 4), rows(layer.plain(layer.context), 2, 4));
}

TEST(RegionalAttention, OverlappingRegionsGiveTheirMean) {
  Layer layer(4, 4);
  const auto first = layer.text(2), second = layer.text(2);
  const auto result =
      layer.regional({{Box{.bottom = 0.75}, 1.0, first}, {Box{.top = 0.25}, 1.0, second}});
  const auto of_first = layer.plain(first), of_second = layer.plain(second);
  expect_close(rows(result, 0, 1), rows(of_first, 0, 1));
  expect_close(rows(result, 1, 3), rows(0.5 * (of_first + of_second), 1, 3));
  expect_close(rows(result, 3, 4), rows(of_second, 3, 4));
}

TEST(RegionalAttention, AWeightBelowOneLeavesThatShareOfTheContext) {
  Layer layer(4, 4);
  const auto own = layer.text(2);
  expect_close(layer.regional({{Box{}, 0.3, own}}),
               0.3 * layer.plain(own) + 0.7 * layer.plain(layer.context));
}

TEST(RegionalAttention, ABoxSmallerThanAPositionLeavesTheContext) {
  Layer layer(2, 2);
  const Box inside_one_position{.top = 0.1, .left = 0.1, .bottom = 0.4, .right = 0.4};
  expect_close(layer.regional({{inside_one_position, 1.0, layer.text(2)}}),
               layer.plain(layer.context));
}

TEST(RegionalAttention, OneTextServesEveryPictureOfItsGuidanceHalf) {
  Layer layer(4, 4, /*batch=*/4);  // two unconditional pictures, then two conditional ones
  const auto own = layer.text(2);
  const auto repeated = torch::stack({own[0], own[0], own[1], own[1]});
  expect_close(layer.regional({{Box{}, 1.0, own}}), layer.plain(repeated));
}

TEST(RegionalAttention, EveryDownsampledSizeOfOddLatentsIsFound) {
  Layer layer(3, 4);
  const auto own = layer.text(2);
  RegionalAttention processor({{Box{}, 1.0, own}}, 5, 7);  // 5x7 -> 3x4 -> 2x2
  const auto result = processor.process(*layer.attention, layer.hidden, layer.context);
  expect_close(result.unflatten(1, {3, 4}), layer.plain(own));
  EXPECT_THROW(processor.process(*layer.attention, layer.hidden.slice(1, 0, 7), layer.context),
               c10::Error);
}

}  // namespace
}  // namespace mos::region
