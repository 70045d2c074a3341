#include <gmock/gmock.h>

#include "mos/nn/attention.h"
#include "mos/nn/clip.h"
#include "mos/nn/resnet.h"
#include "mos/nn/transformer_2d.h"
#include "mos/nn/vae.h"
#include "tests/nn/compare.h"
#include "tests/nn/definitions.h"

// Every block of the networks, values and gradients of its input, against its definition in float64
// on the parameters that diffusers' files have for it.

namespace mos::nn {
namespace {

using test::randomise;
using test::Weights;
using testing::ElementsAre;

constexpr double kBlockBound = 2e-5;  // float32 through a few layers

Tensor features(at::IntArrayRef shape, std::uint64_t seed = 5) {
  auto generator = seeded_generator(seed);
  return randn(shape, generator);
}

class ResnetBlocks : public testing::TestWithParam<std::tuple<std::int64_t, bool>> {};

TEST_P(ResnetBlocks, AreTwoConvolutionsWithNormsAndAShortcut) {
  const auto [out, with_time] = GetParam();
  ResnetSize size{.in_channels = 8, .out_channels = out, .groups = 4};
  if (with_time) size.time_channels = 6;
  ResnetBlock2D block(size);
  randomise(*block, 1);
  const Weights weights(*block);
  const auto time = features({2, 6}, 6);
  expect_same([&, with_time = with_time](
                  const TensorList& in) { return with_time ? block(in[0], time) : block(in[0]); },
              [&, with_time = with_time](const TensorList& in) {
                return test::resnet(weights, "", in[0], 4, 1e-5,
                                    with_time ? time.to(torch::kFloat64) : Tensor());
              },
              {features({2, 8, 5, 7})}, kBlockBound);
}

INSTANTIATE_TEST_SUITE_P(WidthsAndTimes, ResnetBlocks,
                         testing::Combine(testing::Values(8, 12), testing::Bool()));

TEST(Downsamplers, OfTheUNetPadEverySideAndOfTheVaeTwo) {
  for (const auto kind : {Downsampling::kSymmetric, Downsampling::kAsymmetric}) {
    Downsample2D layer(3, kind);
    randomise(*layer, 2);
    const Weights weights(*layer);
    expect_same([&](const TensorList& in) { return layer(in[0]); },
                [&](const TensorList& in) {
                  if (kind == Downsampling::kSymmetric) {
                    return test::convolution(weights, "conv", in[0], 1, 2);
                  }
                  const auto right = torch::zeros({2, 3, 6, 1}, torch::kFloat64);
                  const auto wide = torch::cat({in[0], right}, 3);
                  const auto below = torch::zeros({2, 3, 1, 9}, torch::kFloat64);
                  return test::convolution(weights, "conv", torch::cat({wide, below}, 2), 0, 2);
                },
                {features({2, 3, 6, 8})}, kBlockBound);
  }
}

TEST(Upsamplers, TakeTheNearestPixelForAnySize) {
  Upsample2D layer(3);
  randomise(*layer, 3);
  const Weights weights(*layer);
  const auto nearest = [](std::int64_t from, std::int64_t to) {
    return torch::arange(to) * from / to;  // floor(i · from / to), whole numbers
  };
  expect_same([&](const TensorList& in) { return layer(in[0], 9, 7); },
              [&](const TensorList& in) {
                const auto rows = nearest(5, 9).to(torch::kInt64);
                const auto columns = nearest(4, 7).to(torch::kInt64);
                return test::convolution(weights, "conv",
                                         in[0].index_select(2, rows).index_select(3, columns), 1);
              },
              {features({1, 3, 5, 4})}, kBlockBound);
}

TEST(AttentionLayers, ReadThemselvesOrAContextAndAddTheResidual) {
  for (const bool cross : {false, true}) {
    AttentionSize size{.query_dim = 12, .heads = 3, .head_dim = 5};
    if (cross) size.cross_attention_dim = 7;
    nn::Attention layer(size);
    randomise(*layer, 4);
    const Weights weights(*layer);
    const auto context = cross ? features({2, 6, 7}, 7) : Tensor();
    expect_same([&](const TensorList& in) { return layer->forward(in[0], context, in[1]); },
                [&](const TensorList& in) {
                  const auto wide = cross ? context.to(torch::kFloat64) : Tensor();
                  return test::attention_layer(weights, "", in[0], wide, 3) + in[1];
                },
                {features({2, 9, 12}), features({2, 9, 12}, 8)}, kBlockBound);
  }
}

TEST(AttentionLayers, OfALayerwiseTextReadTheirOwn) {
  nn::Attention layer(
      AttentionSize{.query_dim = 8, .heads = 2, .head_dim = 4, .cross_attention_dim = 6});
  randomise(*layer, 4);
  layer->text_count = 3;
  layer->text_slice = 1;
  const auto x = features({2, 5, 8}), texts = features({2, 3, 4, 6}, 9);
  const torch::NoGradGuard no_grad;
  EXPECT_TRUE(at::equal(layer(x, texts), layer(x, texts.select(1, 1).contiguous())));
}

class Transformers : public testing::TestWithParam<std::tuple<Projection, bool>> {};

TEST_P(Transformers, ProjectAttendAndProjectBack) {
  const auto [projection, channels_last] = GetParam();
  Transformer2DModel model(Transformer2DSize{
      .attention = {.query_dim = 8, .heads = 2, .head_dim = 4, .cross_attention_dim = 6},
      .depth = 2,
      .norm_groups = 4,
      .projection = projection});
  randomise(*model, 10);
  const Weights weights(*model);
  const auto context = features({2, 5, 6}, 11);
  const bool is_linear = projection == Projection::kLinear;
  auto x = features({2, 8, 3, 5});
  if (channels_last) x = x.contiguous(at::MemoryFormat::ChannelsLast);
  const auto rows = [](const Tensor& map) { return map.flatten(2).transpose(1, 2); };
  const auto map = [](const Tensor& y) { return y.transpose(1, 2).reshape({2, 8, 3, 5}); };
  expect_same([&](const TensorList& in) { return model(in[0], context); },
              [&](const TensorList& in) {
                auto y = test::group_norm(weights, "norm", in[0], 4, 1e-6);
                y = is_linear ? test::linear(weights, "proj_in", rows(y))
                              : rows(test::convolution(weights, "proj_in", y, 0));
                for (const char* block : {"transformer_blocks.0.", "transformer_blocks.1."}) {
                  y = test::transformer_block(weights, block, y, context.to(torch::kFloat64), 2);
                }
                y = is_linear ? map(test::linear(weights, "proj_out", y))
                              : test::convolution(weights, "proj_out", map(y), 0);
                return y + in[0];
              },
              {x}, kBlockBound);
}

INSTANTIATE_TEST_SUITE_P(ProjectionsAndLayouts, Transformers,
                         testing::Combine(testing::Values(Projection::kConvolution,
                                                          Projection::kLinear),
                                          testing::Bool()));

/// A VAE of one level: two resnets, the middle, two norms and nothing that changes the size.
VaeConfig flat_vae() {
  VaeConfig config;
  config.block_out_channels = {8};
  config.layers_per_block = 1;
  config.norm_num_groups = 4;
  return config;
}

Tensor reference_vae_middle(const Weights& weights, const std::string& name, Tensor x) {
  constexpr double kEps = 1e-6;
  x = test::resnet(weights, name + "resnets.0.", x, 4, kEps);
  const auto rows = test::group_norm(weights, name + "attentions.0.group_norm", x, 4, kEps)
                        .flatten(2)
                        .transpose(1, 2);
  const auto mixed = test::attention_layer(weights, name + "attentions.0.", rows, {}, 1);
  x = x + mixed.transpose(1, 2).reshape(x.sizes());
  return test::resnet(weights, name + "resnets.1.", x, 4, kEps);
}

TEST(VaeHalves, AreTheirBlocksInOrder) {
  AutoencoderKL vae(flat_vae());
  randomise(*vae, 12);
  const Weights weights(*vae);
  const auto last = [&](const std::string& half, const Tensor& x) {
    const auto y = test::silu(test::group_norm(weights, half + "conv_norm_out", x, 4, 1e-6));
    return test::convolution(weights, half + "conv_out", y, 1);
  };
  expect_same([&](const TensorList& in) { return vae->moments(in[0]); },
              [&](const TensorList& in) {
                auto x = test::convolution(weights, "encoder.conv_in", in[0], 1);
                x = test::resnet(weights, "encoder.down_blocks.0.resnets.0.", x, 4, 1e-6);
                x = reference_vae_middle(weights, "encoder.mid_block.", x);
                return test::convolution(weights, "quant_conv", last("encoder.", x), 0);
              },
              {features({2, 3, 4, 5})}, kBlockBound);
  expect_same([&](const TensorList& in) { return vae->decode(in[0]); },
              [&](const TensorList& in) {
                auto x = test::convolution(weights, "post_quant_conv", in[0], 0);
                x = test::convolution(weights, "decoder.conv_in", x, 1);
                x = reference_vae_middle(weights, "decoder.mid_block.", x);
                for (const char* resnet : {"resnets.0.", "resnets.1."}) {
                  x = test::resnet(weights, std::string("decoder.up_blocks.0.") + resnet, x, 4,
                                   1e-6);
                }
                return last("decoder.", x);
              },
              {features({2, 4, 4, 5})}, kBlockBound);
}

TEST(VaeHalves, AWildVarianceIsKeptWithinFloat32) {
  const torch::NoGradGuard no_grad;
  AutoencoderKL vae(flat_vae());
  randomise(*vae, 12);
  const auto pictures = features({1, 3, 4, 4});
  const auto moments = vae->moments(pictures);
  for (const double factor : {1e4, -1e4}) {
    for (auto& item : vae->named_parameters()) {
      if (item.key() == "quant_conv.bias") item.value().slice(0, 4).fill_(factor);
    }
    const auto latents = vae->encode(pictures);
    EXPECT_TRUE(latents.std().isfinite().all().item<bool>());
    EXPECT_LE(latents.logvar.max().item<double>(), 20.0);
    EXPECT_GE(latents.logvar.min().item<double>(), -30.0);
    EXPECT_TRUE(at::equal(latents.mean, moments.chunk(2, 1)[0])) << "the mean is not the variance";
  }
}

class ClipTextTowers : public testing::TestWithParam<ClipActivation> {};

TEST_P(ClipTextTowers, OfTextAreEmbeddingsLayersAndANorm) {
  ClipTextConfig config;
  config.hidden_size = 12;
  config.intermediate_size = 20;
  config.num_hidden_layers = 2;
  config.num_attention_heads = 3;
  config.hidden_act = GetParam();
  config.vocab_size = 30;
  config.max_position_embeddings = 8;
  CLIPTextModel model(config);
  randomise(*model, 13);
  const Weights weights(*model);
  const auto ids = torch::tensor({{28, 3, 7, 11, 29}, {28, 0, 29, 29, 29}}, torch::kInt64);

  const torch::NoGradGuard no_grad;
  const auto out = model(ids);
  const std::string tower = "text_model.";
  auto x = weights.at(tower + "embeddings.token_embedding.weight")
               .index_select(0, ids.flatten())
               .view({2, 5, 12}) +
           weights.at(tower + "embeddings.position_embedding.weight").slice(0, 0, 5);
  EXPECT_LT(relative_error(out.embeddings, x), kBlockBound);
  for (std::size_t i = 0; i < 2; ++i) {
    const auto layer = tower + "encoder.layers." + std::to_string(i) + ".";
    const auto seen = test::layer_norm(weights, layer + "layer_norm1", x, config.layer_norm_eps);
    const auto project = [&](const char* which) {
      return test::linear(weights, layer + "self_attn." + which, seen);
    };
    const auto mixed = test::attend(project("q_proj"), project("k_proj"), project("v_proj"), 3,
                                    test::Sees::kEarlier);
    x = x + test::linear(weights, layer + "self_attn.out_proj", mixed);
    const auto wide =
        test::linear(weights, layer + "mlp.fc1",
                     test::layer_norm(weights, layer + "layer_norm2", x, config.layer_norm_eps));
    const auto active = GetParam() == ClipActivation::kGelu ? test::gelu(wide)
                                                            : wide / (1.0 + (-1.702 * wide).exp());
    x = x + test::linear(weights, layer + "mlp.fc2", active);
    EXPECT_LT(relative_error(out.hidden[i], x), kBlockBound) << "layer " << i;
  }
  x = test::layer_norm(weights, tower + "final_layer_norm", x, config.layer_norm_eps);
  EXPECT_LT(relative_error(out.last_hidden_state, x), kBlockBound);
}

INSTANTIATE_TEST_SUITE_P(Activations, ClipTextTowers,
                         testing::Values(ClipActivation::kQuickGelu, ClipActivation::kGelu));

TEST(Blocks, OfFloat32WeightsComputeInTheDtypeOfTheirInput) {
  const torch::NoGradGuard no_grad;
  ResnetBlock2D resnet(ResnetSize{.in_channels = 32, .out_channels = 32, .groups = 4});
  Transformer2DModel transformer(Transformer2DSize{
      .attention = {.query_dim = 32, .heads = 2, .head_dim = 16, .cross_attention_dim = 8},
      .norm_groups = 4});
  randomise(*resnet, 14);
  randomise(*transformer, 15);
  const auto x = features({2, 32, 6, 5}), context = features({2, 5, 8}, 16);
  const auto exact = transformer(resnet(x), context);
  const auto narrow = transformer(resnet(x.to(torch::kBFloat16)), context.to(torch::kBFloat16));
  EXPECT_EQ(narrow.scalar_type(), torch::kBFloat16);
  EXPECT_LT(relative_error(narrow, exact), 2e-2);  // a dozen roundings to 8 bits
  EXPECT_GT(relative_error(narrow, exact), 1e-5) << "it was computed in float32";
}

TEST(Engines, OfAllLayersBelowAreSetAtOnce) {
  Transformer2DModel model(Transformer2DSize{
      .attention = {.query_dim = 8, .heads = 2, .head_dim = 4, .cross_attention_dim = 6},
      .norm_groups = 4});
  std::vector<std::string> names;
  use_engine(*model, Engine::kFused);
  for_each_lora_layer(*model, [&](const std::string& name, LoraLayer& layer) {
    EXPECT_EQ(layer.engine, Engine::kFused) << name;
    names.push_back(name.substr(name.find("blocks.0.") == std::string::npos ? 0 : 21));
  });
  EXPECT_THAT(names, ElementsAre("proj_in", "attn1.to_q", "attn1.to_k", "attn1.to_v",
                                 "attn1.to_out.0", "attn2.to_q", "attn2.to_k", "attn2.to_v",
                                 "attn2.to_out.0", "ff.net.0.proj", "ff.net.2", "proj_out"));
}

}  // namespace
}  // namespace mos::nn
