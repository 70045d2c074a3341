#include <gmock/gmock.h>

#include "mos/nn/clip.h"
#include "mos/nn/controlnet.h"
#include "mos/nn/t2i_adapter.h"
#include "mos/nn/unet.h"
#include "tests/nn/compare.h"
#include "tests/nn/definitions.h"
#include "tests/nn/small_unet.h"

// Whole networks against their definition in float64, written down from diffusers' layout of one
// small configuration: which state is read where, and under which name its weights are stored.

namespace mos::nn {
namespace {

using test::Weights;

constexpr std::int64_t kGroups = 4, kHeads = 2, kText = 12;
constexpr double kNetworkBound = 5e-5;  // float32 through some thirty layers

Tensor wide(const Tensor& x) { return x.to(torch::kFloat64); }

/// Vaswani et al., section 3.5, cosines first, and two layers.
Tensor time_embedding(const Weights& weights, std::int64_t step) {
  std::vector<double> waves;
  for (int i = 0; i < 4; ++i)
    waves.push_back(static_cast<double>(step) * std::pow(10000.0, -i / 4.0));
  const auto angle = torch::tensor(waves, torch::kFloat64);
  const auto x = torch::cat({angle.cos(), angle.sin()}).unsqueeze(0);
  const auto inner = test::silu(test::linear(weights, "time_embedding.linear_1", x));
  return test::silu(test::linear(weights, "time_embedding.linear_2", inner));
}

/// The state that down blocks leave for later, the first first.
std::vector<Tensor> states_of_encoder(const Weights& weights, const Tensor& x, const Tensor& time,
                                      const Tensor& context,
                                      const std::vector<Tensor>& adapter = {}) {
  std::vector<Tensor> states = {x};
  const std::string upper = "down_blocks.0.", lower = "down_blocks.1.";
  auto y = test::resnet(weights, upper + "resnets.0.", x, kGroups, 1e-5, time);
  y = test::transformer(weights, upper + "attentions.0.", y, context, kHeads, kGroups);
  if (!adapter.empty()) y = y + adapter[0];
  states.push_back(y);
  states.push_back(test::convolution(weights, upper + "downsamplers.0.conv", y, 1, 2));
  y = test::resnet(weights, lower + "resnets.0.", states.back(), kGroups, 1e-5, time);
  if (!adapter.empty()) y = y + adapter[1];
  states.push_back(y);
  return states;
}

Tensor middle(const Weights& weights, Tensor x, const Tensor& time, const Tensor& context) {
  x = test::resnet(weights, "mid_block.resnets.0.", x, kGroups, 1e-5, time);
  x = test::transformer(weights, "mid_block.attentions.0.", x, context, kHeads, kGroups);
  return test::resnet(weights, "mid_block.resnets.1.", x, kGroups, 1e-5, time);
}

struct Residuals {
  std::vector<Tensor> adapter, control;
  Tensor control_mid;
};

Tensor unet_definition(const Weights& weights, const Tensor& sample, std::int64_t step,
                       const Tensor& context, const Residuals& residuals = {}) {
  const auto time = time_embedding(weights, step);
  auto states = states_of_encoder(weights, test::convolution(weights, "conv_in", sample, 1), time,
                                  context, residuals.adapter);
  auto x = middle(weights, states.back(), time, context);
  for (std::size_t i = 0; i < residuals.control.size(); ++i) {
    states[i] = states[i] + residuals.control[i];
  }
  if (residuals.control_mid.defined()) x = x + residuals.control_mid;

  for (const int block : {0, 1}) {
    const auto name = "up_blocks." + std::to_string(block) + ".";
    for (const int layer : {0, 1}) {
      const auto number = std::to_string(layer) + ".";
      x = torch::cat({x, states.back()}, 1);
      states.pop_back();
      x = test::resnet(weights, name + "resnets." + number, x, kGroups, 1e-5, time);
      if (block == 1) {
        x = test::transformer(weights, name + "attentions." + number, x, context, kHeads, kGroups);
      }
    }
    if (block == 1) break;
    // To the size of the next state, which was halved by rounding up.
    const auto index = [&](std::int64_t from, std::int64_t to) {
      return (torch::arange(to) * from).div(to, "floor").to(torch::kInt64);
    };
    x = x.index_select(2, index(x.size(2), states.back().size(2)))
            .index_select(3, index(x.size(3), states.back().size(3)));
    x = test::convolution(weights, name + "upsamplers.0.conv", x, 1);
  }
  x = test::silu(test::group_norm(weights, "conv_norm_out", x, kGroups, 1e-5));
  return test::convolution(weights, "conv_out", x, 1);
}

class Definitions : public testing::Test {
 protected:
  Tensor draw(at::IntArrayRef shape) { return randn(shape, generator_); }

  const torch::NoGradGuard no_grad_;
  at::Generator generator_ = seeded_generator(41);
};

TEST_F(Definitions, OfTheUNetAtEvenAndOddSizes) {
  UNet2DConditionModel unet(test::small_unet(kText));
  test::randomise(*unet, 1);
  const Weights weights(*unet);
  for (const auto& [height, width] : {std::pair{6L, 8L}, std::pair{5L, 7L}}) {
    const auto sample = draw({2, 4, height, width}), text = draw({2, 3, kText});
    const auto actual = unet(sample, torch::full({1}, 321, torch::kInt64), text);
    const auto expected = unet_definition(weights, wide(sample), 321, wide(text));
    EXPECT_LT(relative_error(actual, expected), kNetworkBound) << height << " x " << width;
  }
}

TEST_F(Definitions, OfTheUNetWithAdaptersAndControl) {
  UNet2DConditionModel unet(test::small_unet(kText));
  test::randomise(*unet, 2);
  const auto sample = draw({1, 4, 6, 8}), text = draw({1, 3, kText});
  UNetResiduals given;
  given.adapter = {draw({1, 8, 6, 8}), draw({1, 16, 3, 4})};
  given.control_down = {draw({1, 8, 6, 8}), draw({1, 8, 6, 8}), draw({1, 8, 3, 4}),
                        draw({1, 16, 3, 4})};
  given.control_mid = draw({1, 16, 3, 4});
  Residuals exact;
  for (const auto& x : given.adapter) exact.adapter.push_back(wide(x));
  for (const auto& x : given.control_down) exact.control.push_back(wide(x));
  exact.control_mid = wide(given.control_mid);
  const auto actual = unet(sample, torch::full({1}, 7, torch::kInt64), text, given);
  EXPECT_LT(
      relative_error(actual, unet_definition(Weights(*unet), wide(sample), 7, wide(text), exact)),
      kNetworkBound);
}

TEST_F(Definitions, OfControlNet) {
  ControlNetConfig config;
  config.unet = test::small_unet(kText);
  config.conditioning_embedding_out_channels = {4, 6, 8, 10};
  for (const bool pools : {false, true}) {
    config.global_pool_conditions = pools;
    ControlNetModel net(config);
    test::randomise(*net, 3);
    const Weights weights(*net);
    const auto sample = draw({1, 4, 4, 6}), text = draw({1, 3, kText}),
               picture = draw({1, 3, 32, 48});

    auto seen = test::silu(
        test::convolution(weights, "controlnet_cond_embedding.conv_in", wide(picture), 1));
    for (int i = 0; i < 6; ++i) {  // every second one halves
      const auto name = "controlnet_cond_embedding.blocks." + std::to_string(i);
      seen = test::silu(test::convolution(weights, name, seen, 1, i % 2 == 0 ? 1 : 2));
    }
    seen = test::convolution(weights, "controlnet_cond_embedding.conv_out", seen, 1);
    EXPECT_LT(relative_error(net->embed_picture(picture), seen), kNetworkBound);

    const auto time = time_embedding(weights, 99);
    const auto states = states_of_encoder(
        weights, test::convolution(weights, "conv_in", wide(sample), 1) + seen, time, wide(text));
    const auto pooled = [&](const Tensor& x) {
      return pools ? x.mean({2, 3}, /*keepdim=*/true).expand_as(x) : x;
    };
    const auto output =
        net(sample, torch::full({1}, 99, torch::kInt64), text, net->embed_picture(picture));
    ASSERT_EQ(output.down.size(), states.size());
    for (std::size_t i = 0; i < states.size(); ++i) {
      const auto name = "controlnet_down_blocks." + std::to_string(i);
      const auto expected = pooled(test::convolution(weights, name, states[i], 0));
      EXPECT_LT(relative_error(output.down[i].expand_as(expected), expected), kNetworkBound) << i;
    }
    const auto mid = pooled(test::convolution(weights, "controlnet_mid_block",
                                              middle(weights, states.back(), time, wide(text)), 0));
    EXPECT_LT(relative_error(output.mid.expand_as(mid), mid), kNetworkBound);
  }
}

/// To a quarter of the size or less, each block of factor × factor pixels as channels.
Tensor unshuffled(const Tensor& x, std::int64_t factor) {
  const auto blocks =
      x.view({x.size(0), x.size(1), x.size(2) / factor, factor, x.size(3) / factor, factor});
  return blocks.permute({0, 1, 3, 5, 2, 4})
      .reshape({x.size(0), -1, x.size(2) / factor, x.size(3) / factor});
}

/// Means of 2×2 pixels, of those that there are at an odd border.
Tensor halved(const Tensor& x) {
  std::vector<Tensor> rows;
  for (std::int64_t row = 0; row < x.size(2); row += 2) {
    std::vector<Tensor> row_of;
    for (std::int64_t column = 0; column < x.size(3); column += 2) {
      row_of.push_back(x.slice(2, row, row + 2).slice(3, column, column + 2).mean({2, 3}));
    }
    rows.push_back(torch::stack(row_of, -1));
  }
  return torch::stack(rows, 2);
}

TEST_F(Definitions, OfBothT2IAdapters) {
  for (const auto kind : {T2IAdapterKind::kFull, T2IAdapterKind::kLight}) {
    const bool light = kind == T2IAdapterKind::kLight;
    T2IAdapter adapter(T2IAdapterConfig{.kind = kind,
                                        .in_channels = 1,
                                        .channels = {8, 12, 12},
                                        .num_res_blocks = 2,
                                        .downscale_factor = 4});
    test::randomise(*adapter, 4);
    const Weights weights(*adapter);
    const auto picture = draw({2, 1, 20, 12});
    const auto maps = adapter(picture);
    ASSERT_EQ(maps.size(), 3U);
    auto x = unshuffled(wide(picture), 4);
    if (!light) x = test::convolution(weights, "adapter.conv_in", x, 1);
    for (std::size_t level = 0; level < 3; ++level) {
      const auto name = "adapter.body." + std::to_string(level) + ".";
      if (level > 0) x = halved(x);
      if (light || level == 1) x = test::convolution(weights, name + "in_conv", x, 0);
      for (const char* block : {"resnets.0.", "resnets.1."}) {
        const auto inner = test::convolution(weights, name + block + "block1", x, 1).clamp_min(0.0);
        x = x + test::convolution(weights, name + block + "block2", inner, light ? 1 : 0);
      }
      if (light) x = test::convolution(weights, name + "out_conv", x, 0);
      EXPECT_LT(relative_error(maps[level], x), kNetworkBound) << level;
    }
  }
}

TEST_F(Definitions, OfTheImageTower) {
  ClipVisionConfig config;
  config.hidden_size = 12;
  config.intermediate_size = 20;
  config.num_hidden_layers = 1;
  config.num_attention_heads = 3;
  config.image_size = 8;
  config.patch_size = 4;
  CLIPVisionModel model(config);
  test::randomise(*model, 5);
  const Weights weights(*model);
  const auto pixels = draw({2, 3, 8, 8});

  const std::string tower = "vision_model.", layer = tower + "encoder.layers.0.";
  const auto patches =
      test::convolution(weights, tower + "embeddings.patch_embedding", wide(pixels), 0, 4)
          .flatten(2)
          .transpose(1, 2);
  const auto first = weights.at(tower + "embeddings.class_embedding").expand({2, 1, 12});
  auto x =
      torch::cat({first, patches}, 1) + weights.at(tower + "embeddings.position_embedding.weight");
  x = test::layer_norm(weights, tower + "pre_layrnorm", x, config.layer_norm_eps);
  const auto seen = test::layer_norm(weights, layer + "layer_norm1", x, config.layer_norm_eps);
  const auto project = [&](const char* which) {
    return test::linear(weights, layer + "self_attn." + which, seen);
  };
  x = x + test::linear(weights, layer + "self_attn.out_proj",
                       test::attend(project("q_proj"), project("k_proj"), project("v_proj"), 3));
  const auto inner =
      test::linear(weights, layer + "mlp.fc1",
                   test::layer_norm(weights, layer + "layer_norm2", x, config.layer_norm_eps));
  x = x + test::linear(weights, layer + "mlp.fc2", inner / (1.0 + (-1.702 * inner).exp()));

  const auto out = model(pixels);
  EXPECT_LT(relative_error(out.last_hidden_state, x), kNetworkBound);
  EXPECT_LT(
      relative_error(out.pooler_output, test::layer_norm(weights, tower + "post_layernorm",
                                                         x.select(1, 0), config.layer_norm_eps)),
      kNetworkBound);
}

TEST_F(Definitions, OfPicturesForClip) {
  const auto pixels = torch::zeros({2, 3, 4, 4});
  pixels.select(1, 1).fill_(0.4578275);
  const auto normal = normalise_pixels(pixels);
  EXPECT_LT(normal.select(1, 1).abs().max().item<double>(), 1e-6);
  EXPECT_NEAR(normal[0][0][0][0].item<double>(), -0.48145466 / 0.26862954, 1e-5);
  EXPECT_NEAR(normal[1][2][3][3].item<double>(), -0.40821073 / 0.27577711, 1e-5);
}

}  // namespace
}  // namespace mos::nn
