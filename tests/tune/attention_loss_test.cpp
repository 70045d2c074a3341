#include "mos/tune/attention_loss.h"

#include <gtest/gtest.h>
#include <torch/types.h>

#include <cmath>
#include <memory>
#include <utility>
#include <vector>

#include "mos/base/random.h"
#include "mos/tune/objective.h"

namespace {

using mos::tune::AttentionRecorder;
using mos::tune::SubjectAttention;
using torch::Tensor;

constexpr std::int64_t kText = 5;  // positions

/// An attention layer of random weights with 2 heads over text of width 6.
mos::nn::Attention make_layer(std::int64_t channels, at::Generator& generator) {
  mos::nn::Attention layer(mos::nn::AttentionSize{
      .query_dim = channels, .heads = 2, .head_dim = channels / 2, .cross_attention_dim = 6});
  torch::NoGradGuard no_grad;
  for (auto& parameter : layer->parameters()) {
    parameter.copy_(mos::randn(parameter.sizes(), generator));
  }
  return layer;
}

/// softmax(QKᵀ/√d) [B,heads,N,S] straight from the weights.
Tensor probabilities(mos::nn::Attention& layer, const Tensor& hidden, const Tensor& text) {
  const auto weights = layer->named_parameters();
  const auto split = [](const Tensor& x) {
    return x.view({x.size(0), x.size(1), 2, -1}).transpose(1, 2);
  };
  const auto q = split(torch::matmul(hidden, weights["to_q.weight"].t()));
  const auto k = split(torch::matmul(text, weights["to_k.weight"].t()));
  return torch::softmax(
      torch::matmul(q, k.transpose(-2, -1)) / std::sqrt(static_cast<double>(q.size(3))), -1);
}

class AttentionLoss : public ::testing::Test {
 protected:
  AttentionLoss() {
    masks_.narrow(2, 1, 2).narrow(3, 0, 2).fill_(1.0);
    recorder_ = std::make_shared<AttentionRecorder>(
        mos::tune::WordColumns{.samples = torch::tensor({std::int64_t{0}, std::int64_t{2}}),
                               .columns = torch::tensor({{std::int64_t{1}, std::int64_t{2}},
                                                         {std::int64_t{3}, std::int64_t{4}}})});
    for (auto* layer : {&large_, &also_large_, &small_}) {
      const auto positions = layer == &small_ ? 4 : 16;
      hidden_.push_back(mos::randn({3, positions, layer == &small_ ? 8 : 4}, generator_));
      mos::nn::ScopedProcessor recording({*layer}, recorder_);
      outputs_.push_back((*layer)(hidden_.back(), text_));
    }
  }

  /// Mean over layers and heads of one column of picture 0 or 2, [2,N].
  Tensor direct_map(const std::vector<Tensor>& layers, std::int64_t word) {
    const std::int64_t columns[2][2] = {{1, 2}, {3, 4}};
    std::vector<Tensor> rows;
    for (const std::int64_t k : {0, 1}) {
      Tensor sum = torch::zeros({layers[0].size(2)});
      for (const auto& p : layers) sum += p[2 * k].select(2, columns[k][word]).sum(0);
      rows.push_back(sum / (2.0 * static_cast<double>(layers.size())));
    }
    return torch::stack(rows);
  }

  double direct_loss(bool fills_mask) {
    const auto p0 = probabilities(large_, hidden_[0], text_);
    const auto p1 = probabilities(also_large_, hidden_[1], text_);
    const auto p2 = probabilities(small_, hidden_[2], text_);
    double total = 0;
    for (const auto& layers : {std::vector{p0, p1}, std::vector{p2}}) {
      const std::int64_t side = layers[0].size(2) == 16 ? 4 : 2;
      const auto mask = torch::upsample_nearest2d(masks_, {side, side})
                            .index_select(0, torch::tensor({std::int64_t{0}, std::int64_t{2}}))
                            .flatten(1);
      auto adjective = direct_map(layers, 0), subject = direct_map(layers, 1);
      adjective = adjective / adjective.max();
      subject = subject / subject.max();
      total += adjective.masked_select(mask == 0).mean().item<double>();
      total += fills_mask ? (subject - mask).square().mean().item<double>()
                          : subject.masked_select(mask == 0).mean().item<double>();
    }
    return total;
  }

  at::Generator generator_ = mos::seeded_generator(3);
  mos::nn::Attention large_ = make_layer(4, generator_);
  mos::nn::Attention also_large_ = make_layer(4, generator_);
  mos::nn::Attention small_ = make_layer(8, generator_);
  Tensor text_ = mos::randn({3, kText, 6}, generator_);
  Tensor masks_ = torch::zeros({3, 1, 4, 4});
  std::vector<Tensor> hidden_, outputs_;
  std::shared_ptr<AttentionRecorder> recorder_;
};

TEST_F(AttentionLoss, RecordingDoesNotChangeTheOutput) {
  EXPECT_LT((large_(hidden_[0], text_) - outputs_[0]).abs().max().item<double>(), 1e-5);
  EXPECT_LT((small_(hidden_[2], text_) - outputs_[2]).abs().max().item<double>(), 1e-5);
}

TEST_F(AttentionLoss, EqualsTheFormulaOnStoredProbabilities) {
  using mos::tune::attention_loss;
  EXPECT_NEAR(
      attention_loss(maps_of(*recorder_, masks_), SubjectAttention::kFillsMask).item<double>(),
      direct_loss(true), 1e-5);
  EXPECT_NEAR(
      attention_loss(maps_of(*recorder_, masks_), SubjectAttention::kStaysInside).item<double>(),
      direct_loss(false), 1e-5);
}

TEST_F(AttentionLoss, GradientsReachTheProjections) {
  attention_loss(maps_of(*recorder_, masks_), SubjectAttention::kStaysInside).backward();
  EXPECT_GT(large_->named_parameters()["to_k.weight"].grad().abs().sum().item<double>(), 0);
}

TEST_F(AttentionLoss, MaskThatCoversEverythingHasNoOutside) {
  const auto full = torch::ones({3, 1, 4, 4});
  const auto stays = attention_loss(maps_of(*recorder_, full), SubjectAttention::kStaysInside);
  EXPECT_EQ(stays.item<double>(), 0.0);
  const auto fills = attention_loss(maps_of(*recorder_, full), SubjectAttention::kFillsMask);
  EXPECT_TRUE(std::isfinite(fills.item<double>()));
}

TEST(FeatureSize, IsThatOfTheLatentsHalvedAndRoundedUp) {
  const auto size = [](std::int64_t positions) {
    const auto [height, width] = mos::nn::feature_size(24, 17, positions);
    return std::pair(height, width);
  };
  EXPECT_EQ(size(24 * 17), std::pair(std::int64_t{24}, std::int64_t{17}));
  EXPECT_EQ(size(12 * 9), std::pair(std::int64_t{12}, std::int64_t{9}));
  EXPECT_EQ(size(6 * 5), std::pair(std::int64_t{6}, std::int64_t{5}));  // aspect alone gives 7 x 4
  EXPECT_THROW(size(28), c10::Error);
}

TEST(MaskedLoss, IsTheMeanOfWeightedErrorsOfEachPicture) {
  const auto prediction = torch::tensor({1.0F, 2.0F, 3.0F, 4.0F}).view({2, 1, 1, 2});
  const auto target = torch::zeros({2, 1, 1, 2});
  const auto mask = torch::tensor({1.0F, 0.0F, 1.0F, 1.0F}).view({2, 1, 1, 2});
  // picture 0: 1²/1, picture 1: (3² + 4²)/2
  EXPECT_DOUBLE_EQ(mos::tune::masked_loss(prediction, target, mask).item<double>(),
                   (1.0 + 12.5) / 2);
}

TEST(MaskedLoss, CountsEveryChannelOfAWeightedPixel) {
  const auto prediction = torch::ones({1, 4, 2, 2});
  const auto loss =
      mos::tune::masked_loss(prediction, torch::zeros({1, 4, 2, 2}), torch::ones({1, 1, 2, 2}));
  EXPECT_DOUBLE_EQ(loss.item<double>(), 4.0);
}

}  // namespace
