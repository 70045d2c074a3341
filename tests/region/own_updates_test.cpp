#include "mos/region/own_updates.h"

#include <gtest/gtest.h>

#include <cmath>

#include "mos/base/error.h"
#include "mos/base/random.h"
#include "mos/concepts/lora.h"
#include "mos/region/masked_attention.h"
#include "tests/support/tiny_model.h"

namespace mos::region {
namespace {

using concepts::Dense;
using concepts::LayerUpdates;
using concepts::LoraPart;
using concepts::LowRank;
using torch::Tensor;

const std::string kBlock = "down_blocks.0.attentions.0.transformer_blocks.0.";

/// The attention layers of a block of a small U-Net, on features of 4 × 6.
class Own : public testing::Test {
 protected:
  static constexpr std::int64_t kHeight = 4, kWidth = 6;

  static nn::AttentionImpl& layer(diffusion::Model& model, const std::string& name) {
    for (const auto& module : model.unet->named_modules()) {
      auto* attention = dynamic_cast<nn::AttentionImpl*>(module.value().get());
      if (attention != nullptr && module.key() == kBlock + name) return *attention;
    }
    throw std::out_of_range(name);
  }

  Tensor draw(at::IntArrayRef shape) { return randn(shape, generator_); }

  /// Of each form that differs: a pair, a full difference with its bias, shifts of singular values.
  LayerUpdates updates() {
    LayerUpdates result;
    for (const std::string attention : {"attn1", "attn2"}) {
      const auto name = kBlock + attention;
      const auto text = attention == "attn2" ? 16 : 8;
      result[name + ".to_q"] = LowRank{.down = draw({2, 8}), .up = draw({8, 2}), .scale = 0.5};
      result[name + ".to_k"] = LowRank{.down = draw({3, text}), .up = draw({8, 3})};
      result[name + ".to_v"] = Dense{.form = concepts::DenseForm::kSpectral,
                                     .parts = {{LoraPart::kSpectralShift, 0.5 * draw({8})}}};
      result[name + ".to_out.0"] = Dense{.parts = {{LoraPart::kDifference, 0.3 * draw({8, 8})},
                                                   {LoraPart::kBiasDifference, draw({8})}}};
    }
    return result;
  }

  std::shared_ptr<OwnUpdates> own_of(const LayerUpdates& updates, double scale) {
    auto own = std::make_shared<OwnUpdates>();
    own->add(model_.unet, updates, scale, "the test");
    return own;
  }

  std::shared_ptr<MaskedRegions> halves() {
    auto scene = std::make_shared<MaskedRegions>();
    const auto left = torch::zeros({kHeight, kWidth});
    left.slice(1, 0, 2).fill_(1.0);
    for (const auto& mask : {left, 1.0 - left}) {
      scene->regions.push_back({mask, draw({2, 3, 16})});
    }
    scene->latent_height = kHeight;
    scene->latent_width = kWidth;
    return scene;
  }

  static Tensor map_of(const Tensor& x) { return x.unflatten(1, {kHeight, kWidth}); }
  static double difference(const Tensor& a, const Tensor& b) {
    return (a - b).abs().max().item<double>();
  }

  torch::NoGradGuard no_grad_;
  at::Generator generator_ = seeded_generator(7);
  diffusion::Model model_ = tiny::model();
  Tensor hidden_ = draw({2, kHeight* kWidth, 8});
  Tensor context_ = draw({2, 3, 16});
};

TEST_F(Own, EachRegionOfCrossAttentionIsThatOfTheModelWithItsConceptMerged) {
  const auto scene = halves();
  Tensor expected[2];
  const LayerUpdates concepts[] = {updates(), updates()};
  for (std::size_t i = 0; i < 2; ++i) {
    const double scale = i == 0 ? 1.0 : 0.7;
    scene->regions[i].own = own_of(concepts[i], scale);
    auto merged = tiny::model();
    concepts::merge_lora(*merged.unet, concepts[i], scale, "the test");
    expected[i] = map_of(layer(merged, "attn2").forward(hidden_, scene->regions[i].context));
  }
  MaskedAttention processor(scene);
  const auto painted = map_of(processor.process(layer(model_, "attn2"), hidden_, context_));
  // Float sums in another order: the update is added to rows, not to the weight.
  EXPECT_LT(difference(painted.slice(2, 0, 2), expected[0].slice(2, 0, 2)), 1e-4);
  EXPECT_LT(difference(painted.slice(2, 2, 6), expected[1].slice(2, 2, 6)), 1e-4);
  EXPECT_GT(difference(expected[0], expected[1]), 0.1);
}

TEST_F(Own, ARegionOfTheWholeCanvasMakesSelfAttentionThatOfTheMergedModel) {
  const auto scene = halves();
  scene->regions.resize(1);
  scene->regions[0].mask = torch::ones({kHeight, kWidth});
  const auto changes = updates();
  scene->regions[0].own = own_of(changes, 1.0);
  auto merged = tiny::model();
  concepts::merge_lora(*merged.unet, changes, 1.0, "the test");
  RegionalSelfAttention processor(scene);
  const auto painted = processor.process(layer(model_, "attn1"), hidden_, {});
  EXPECT_LT(difference(painted, layer(merged, "attn1").forward(hidden_)), 1e-4);
  EXPECT_GT(difference(painted, layer(model_, "attn1").forward(hidden_)), 0.1);
}

TEST_F(Own, SelfAttentionAddsEachUpdateWhereItsMaskIs) {
  const auto scene = halves();
  const auto changes = updates();
  scene->regions[1].own = own_of(changes, 1.0);
  RegionalSelfAttention processor(scene);
  const auto painted = processor.process(layer(model_, "attn1"), hidden_, {});

  const auto mask = scene->regions[1].mask.flatten().view({1, -1, 1});
  const auto weights = model_.unet->named_parameters();
  const auto project = [&](const std::string& name, const Tensor& x) {
    const auto key = kBlock + "attn1." + name;
    const auto& weight = weights[key + ".weight"];
    const auto change = changes.at(key).difference(weight);
    return x.matmul(weight.t()) + mask * x.matmul(change.t());
  };
  const auto heads = [](const Tensor& x) { return x.view({2, -1, 2, 4}).transpose(1, 2); };
  const auto scores =
      heads(project("to_q", hidden_)).matmul(heads(project("to_k", hidden_)).transpose(-2, -1)) /
      std::sqrt(4.0);
  const auto seen =
      torch::softmax(scores, -1).matmul(heads(project("to_v", hidden_))).transpose(1, 2).flatten(2);
  const auto expected = project("to_out.0", seen) + weights[kBlock + "attn1.to_out.0.bias"] +
                        mask * changes.at(kBlock + "attn1.to_out.0").bias_difference();
  EXPECT_LT(difference(painted, expected), 1e-4);
}

TEST_F(Own, LayersThatAreNoAttentionAreRefused) {
  LayerUpdates outside;
  outside[kBlock + "ff.net.2"] = LowRank{.down = draw({1, 32}), .up = draw({8, 1})};
  OwnUpdates own;
  EXPECT_THROW(own.add(model_.unet, outside, 1.0, "the test"), Error);
}

}  // namespace
}  // namespace mos::region
