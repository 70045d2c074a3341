#include "mos/region/own_updates.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "mos/base/error.h"
#include "mos/base/random.h"
#include "mos/concepts/lora.h"
#include "mos/region/masked_attention.h"
#include "mos/region/own_layers.h"
#include "mos/region/region_mask.h"
#include "tests/support/difference.h"
#include "tests/support/tiny_model.h"

namespace mos::region {
namespace {

using concepts::Dense;
using concepts::LayerUpdates;
using concepts::LoraPart;
using concepts::LowRank;
using test::difference;
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
      scene->regions.push_back({{mask}, draw({2, 3, 16})});
    }
    scene->latent_height = kHeight;
    scene->latent_width = kWidth;
    return scene;
  }

  static Tensor map_of(const Tensor& x) { return x.unflatten(1, {kHeight, kWidth}); }
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
  scene->regions[0].shape.mask = torch::ones({kHeight, kWidth});
  const auto changes = updates();
  scene->regions[0].own = own_of(changes, 1.0);
  auto merged = tiny::model();
  concepts::merge_lora(*merged.unet, changes, 1.0, "the test");
  RegionalSelfAttention processor(scene);
  const auto painted = processor.process(layer(model_, "attn1"), hidden_, {});
  EXPECT_LT(difference(painted, layer(merged, "attn1").forward(hidden_)), 1e-4);
  EXPECT_GT(difference(painted, layer(model_, "attn1").forward(hidden_)), 0.1);
}

TEST_F(Own, WhereEveryPositionSeesItselfAloneSelfAttentionIsThatOfTheMergedModelToo) {
  const auto scene = halves();
  scene->regions.resize(1);
  scene->regions[0].shape.mask = torch::ones({kHeight, kWidth});
  const auto changes = updates();
  scene->regions[0].own = own_of(changes, 1.0);
  auto merged = tiny::model();
  concepts::merge_lora(*merged.unet, changes, 1.0, "the test");
  const auto identity_of = [&](diffusion::Model& model) {
    auto& attention = layer(model, "attn1");
    return attention.output(attention.key_value(hidden_).value);
  };
  RegionalSelfAttention processor(scene);
  const auto seen = processor.identity(layer(model_, "attn1"), hidden_);
  EXPECT_LT(difference(seen, identity_of(merged)), 1e-4);
  EXPECT_GT(difference(seen, identity_of(model_)), 0.1);
}

TEST_F(Own, SelfAttentionAddsEachUpdateWhereItsMaskIs) {
  const auto scene = halves();
  const auto changes = updates();
  scene->regions[1].own = own_of(changes, 1.0);
  RegionalSelfAttention processor(scene);
  const auto painted = processor.process(layer(model_, "attn1"), hidden_, {});

  const auto mask = scene->regions[1].shape.mask.flatten().view({1, -1, 1});
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

TEST_F(Own, LayersWithoutPositionsAreRefused) {
  LayerUpdates outside;
  outside["time_embedding.linear_1"] = LowRank{.down = draw({1, 8}), .up = draw({32, 1})};
  OwnUpdates own;
  EXPECT_THROW(own.add(model_.unet, outside, 1.0, "the test"), Error);
}

/// Each layer outside of attention that has positions, with what it gives when a region of an odd
/// shape has a concept, against the whole update weighed by the mask.
TEST_F(Own, OutsideOfAttentionAnUpdateActsWhereItsRegionIs) {
  auto mask = torch::zeros({8, 12});
  mask.slice(0, 1, 6).slice(1, 3, 11).fill_(1.0);
  mask[2][4] = 0.25;
  auto scene = std::make_shared<MaskedRegions>();
  scene->regions.push_back({{mask}, draw({2, 3, 16})});
  scene->latent_height = 8;
  scene->latent_width = 12;
  LayerUpdates changes;
  std::map<std::string, nn::LoraLayer*> layers;
  nn::for_each_lora_layer(*model_.unet, [&](const std::string& name, nn::LoraLayer& layer) {
    if (!has_positions(name) || name.find("attn") != name.npos) return;
    if (name.ends_with("time_emb_proj")) return;
    auto down = layer.weight.sizes().vec(), up = down;
    down[0] = up[1] = 2;
    std::fill(up.begin() + 2, up.end(), 1);
    changes[name] = LowRank{.down = draw(down), .up = draw(up)};
    layers[name] = &layer;
  });
  ASSERT_TRUE(layers.contains("down_blocks.0.downsamplers.0.conv"));  // a stride of two
  ASSERT_TRUE(layers.contains(kBlock + "ff.net.2"));
  const auto own = std::make_shared<OwnUpdates>();
  own->add(model_.unet, changes, 0.7, "the test");
  scene->regions[0].own = own;
  for (const auto& [name, layer] : layers) {
    auto* convolution = dynamic_cast<nn::Conv2dImpl*>(layer);
    auto* linear = dynamic_cast<nn::LinearImpl*>(layer);
    const auto x = convolution != nullptr ? draw({2, layer->weight.size(1), 8, 12})
                                          : draw({2, 96, layer->in_features()});
    const auto run = [&] { return convolution ? convolution->forward(x) : linear->forward(x); };
    const auto before = run();
    Tensor painted;
    {
      const InstalledLayers installed(scene);
      painted = run();
    }
    EXPECT_TRUE(torch::equal(run(), before)) << name;
    const auto difference_of = changes.at(name).difference(layer->weight, 0.7);
    Tensor whole, share;
    if (convolution != nullptr) {
      whole = torch::conv2d(x, difference_of.view(layer->weight.sizes()), {}, convolution->stride(),
                            convolution->padding());
      share = mask_on_features(mask, whole.size(2), whole.size(3));
    } else {
      whole = torch::linear(x, difference_of);
      share = mask.view({1, 96, 1});
    }
    EXPECT_LT(difference(painted, before + share * whole), 1e-4) << name;
  }
}

TEST_F(Own, WhatABlockMakesOfTheTimestepIsAddedWhereTheRegionIs) {
  const auto scene = halves();
  const std::string block = "down_blocks.0.resnets.0.";
  nn::LinearImpl* time = nullptr;
  nn::Conv2dImpl* convolution = nullptr;
  nn::for_each_lora_layer(*model_.unet, [&](const std::string& name, nn::LoraLayer& layer) {
    if (name == block + "time_emb_proj") time = dynamic_cast<nn::LinearImpl*>(&layer);
    if (name == block + "conv1") convolution = dynamic_cast<nn::Conv2dImpl*>(&layer);
  });
  ASSERT_TRUE(time != nullptr && convolution != nullptr);
  const auto embedded = draw({2, time->in_features()});
  const auto x = draw({2, convolution->weight.size(1), kHeight, kWidth});
  const auto run = [&] {
    return convolution->forward(x, {.per_sample = time->forward(embedded), .residual = {}});
  };
  const auto before = run();
  LayerUpdates changes;
  changes[block + "time_emb_proj"] =
      LowRank{.down = draw({2, time->in_features()}), .up = draw({time->out_features(), 2})};
  scene->regions[1].own = own_of(changes, 0.7);
  Tensor painted;
  {
    const InstalledLayers installed(scene);
    painted = run();
  }
  EXPECT_TRUE(torch::equal(run(), before));
  const auto change = changes.begin()->second.difference(time->weight, 0.7);
  const auto vector = embedded.matmul(change.t()).unsqueeze(2).unsqueeze(3);
  EXPECT_LT(difference(painted, before + scene->regions[1].shape.mask * vector), 1e-4);
  EXPECT_GT(difference(painted, before), 0.1);
}

}  // namespace
}  // namespace mos::region
