#include "mos/nn/vit.h"

#include <gmock/gmock.h>

#include <cmath>
#include <string>

#include "mos/base/random.h"
#include "mos/nn/compute.h"
#include "tests/nn/compare.h"
#include "tests/nn/definitions.h"
#include "tests/support/errors.h"

/// The vision transformer that DINO is, against its paper (Dosovitskiy et al. 2021, equations 1 to
/// 4) and the names that transformers gives its weights.
namespace mos::nn {
namespace {

using test::Weights;
using testing::AllOf;
using testing::HasSubstr;

ViTConfig small(bool qkv_bias) {
  return {.hidden_size = 12,
          .intermediate_size = 20,
          .num_hidden_layers = 2,
          .num_attention_heads = 3,
          .layer_norm_eps = 1e-6,
          .image_size = 9,  // the last row and column belong to no patch
          .patch_size = 4,
          .qkv_bias = qkv_bias};
}

Tensor pictures() {
  auto generator = seeded_generator(21);
  return randn({2, 3, 9, 9}, generator);
}

/// [B,C] in float64, patch by patch and head by head.
Tensor class_token(const Weights& w, const ViTConfig& config, const Tensor& pixels) {
  const auto eps = config.layer_norm_eps;
  const auto batch = pixels.size(0), width = config.hidden_size;
  auto patches =
      test::convolution(w, "embeddings.patch_embeddings.projection", pixels, 0, config.patch_size);
  const auto first = w.at("embeddings.cls_token").expand({batch, 1, width});
  auto z = torch::cat({first, patches.flatten(2).transpose(1, 2)}, 1) +
           w.at("embeddings.position_embeddings");
  for (std::int64_t i = 0; i < config.num_hidden_layers; ++i) {
    const auto layer = "encoder.layer." + std::to_string(i) + ".";
    const auto read = test::layer_norm(w, layer + "layernorm_before", z, eps);
    const auto of = [&](const char* name) {
      return test::linear(w, layer + "attention.attention." + name, read);
    };
    z = z +
        test::linear(w, layer + "attention.output.dense",
                     test::attend(of("query"), of("key"), of("value"), config.num_attention_heads));
    const auto inner = test::linear(w, layer + "intermediate.dense",
                                    test::layer_norm(w, layer + "layernorm_after", z, eps));
    z = z + test::linear(w, layer + "output.dense", test::gelu(inner));
  }
  return test::layer_norm(w, "layernorm", z, eps).select(1, 0);
}

TEST(ViT, IsTheTransformerOfItsPaper) {
  for (const bool qkv_bias : {true, false}) {
    const auto config = small(qkv_bias);
    ViTModel model(config);
    test::randomise(*model, 8);
    const Weights weights(*model);
    EXPECT_EQ(weights.optional("encoder.layer.1.attention.attention.key.bias").defined(), qkv_bias);
    const auto expected = class_token(weights, config, pictures().to(torch::kFloat64));
    EXPECT_LT(relative_error(model->forward(pictures()), expected), 1e-5) << qkv_bias;
  }
}

TEST(ViT, ComputesInReducedPrecisionAndEachPictureForItself) {
  ViTModel model(small(true));
  test::randomise(*model, 9);
  const auto exact = model->forward(pictures());
  EXPECT_TRUE(model->forward(pictures().slice(0, 1)).allclose(exact.slice(0, 1), 1e-5, 1e-6));
  model->to(torch::kBFloat16);
  const auto rounded = model->forward(pictures().to(torch::kBFloat16));
  EXPECT_EQ(rounded.scalar_type(), torch::kBFloat16);
  EXPECT_LT(relative_error(rounded, exact), 0.03);  // two layers of 8 bits
}

TEST(ViT, ReadsWhatAConfigSaysAndKeepsTheRestAsViTBaseHasIt) {
  const auto config = ViTConfig::from_json({{"image_size", 32}, {"patch_size", 8}});
  EXPECT_EQ(config.image_size, 32);
  EXPECT_EQ(config.patch_size, 8);
  EXPECT_EQ(config.hidden_size, 768);
  EXPECT_EQ(config.num_hidden_layers, 12);
  EXPECT_TRUE(config.qkv_bias);
}

TEST(ViT, RefusesWhatItIsNotAndWhatNoNetworkCanBe) {
  const auto refusal = [](const Json& config) {
    return mos::test::message_of(ErrorKind::kFormat, [&] { ViTConfig::from_json(config); });
  };
  EXPECT_THAT(refusal({{"model_type", "dinov2"}}), AllOf(HasSubstr("dinov2"), HasSubstr("vit")));
  EXPECT_THAT(refusal({{"hidden_act", "quick_gelu"}}), HasSubstr("quick_gelu"));
  for (const Json& config :
       {Json{{"num_attention_heads", 5}}, Json{{"num_attention_heads", 0}},
        Json{{"hidden_size", -768}}, Json{{"num_hidden_layers", 1'000'000'000}},
        Json{{"image_size", 8}}, Json{{"layer_norm_eps", 0.0}}, Json{{"patch_size", 0}}}) {
    EXPECT_THAT(refusal(config), HasSubstr("vision transformer config")) << config;
  }
}

}  // namespace
}  // namespace mos::nn
