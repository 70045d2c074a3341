#include <gmock/gmock.h>

#include <cmath>
#include <numeric>
#include <utility>

#include "mos/base/error.h"
#include "mos/base/random.h"
#include "mos/nn/clip.h"
#include "mos/nn/controlnet.h"
#include "mos/nn/parameter.h"
#include "mos/nn/t2i_adapter.h"
#include "mos/nn/unet.h"
#include "mos/nn/vae.h"
#include "tests/nn/small_unet.h"

// What whole networks promise their callers beside the reference's numbers (tests/golden): shapes
// at every size, what may share a batch, and that the seams change nothing while they are unused.

namespace mos::nn {
namespace {

using testing::ElementsAre;
using testing::Pair;
using torch::Tensor;

constexpr double kRounding = 1e-4;  // of sums of some hundred float32 numbers in another order

/// Random weights of a size that keeps activations where they are.
void fill(torch::nn::Module& network, std::uint64_t seed) {
  const torch::NoGradGuard no_grad;
  auto generator = seeded_generator(seed);
  for (auto& weight : network.parameters()) {
    const auto inputs = weight.dim() < 2 ? 100 : weight.numel() / weight.size(0);
    weight.copy_(randn(weight.sizes(), generator) / std::sqrt(static_cast<double>(inputs)));
    if (weight.dim() == 1) weight.add_(1.0);
  }
}

UNetConfig unet_config() { return test::small_unet(12); }

class UNet : public testing::Test {
 protected:
  UNet() { fill(*unet_, 1); }

  Tensor draw(at::IntArrayRef shape) { return randn(shape, generator_); }
  static Tensor at_step(std::int64_t step, std::int64_t batch = 1) {
    return torch::full({batch}, step, torch::kInt64);
  }

  const torch::NoGradGuard no_grad_;
  at::Generator generator_ = seeded_generator(2);
  UNet2DConditionModel unet_{unet_config()};
};

TEST_F(UNet, EverySizeComesBackAsItWas) {
  for (const auto& [height, width] : {std::pair{8, 8}, std::pair{5, 7}, std::pair{1, 3}}) {
    const auto out = unet_(draw({2, 4, height, width}), at_step(7), draw({2, 3, 12}));
    EXPECT_THAT(out.sizes().vec(), ElementsAre(2, 4, height, width));
  }
}

TEST_F(UNet, PicturesOfABatchDoNotSeeEachOther) {
  const auto sample = draw({3, 4, 8, 8}), text = draw({3, 5, 12});
  const auto steps = torch::tensor({1, 500, 999}, torch::kInt64);
  const auto together = unet_(sample, steps, text);
  for (std::int64_t i = 0; i < 3; ++i) {
    const auto alone = unet_(sample.narrow(0, i, 1), steps.narrow(0, i, 1), text.narrow(0, i, 1));
    EXPECT_TRUE(torch::allclose(together.narrow(0, i, 1), alone, kRounding, kRounding)) << i;
  }
}

TEST_F(UNet, OneTimestepStandsForAllPictures) {
  const auto sample = draw({2, 4, 8, 8}), text = draw({2, 5, 12});
  EXPECT_TRUE(unet_(sample, at_step(300), text).equal(unet_(sample, at_step(300, 2), text)));
}

TEST_F(UNet, NeighboursMayShareATextThatIsGivenOnce) {
  const auto sample = draw({4, 4, 8, 8}), texts = draw({2, 5, 12});
  const auto shared = unet_(sample, at_step(300), texts);
  const auto repeated = unet_(sample, at_step(300), texts.repeat_interleave(2, 0));
  EXPECT_TRUE(torch::allclose(shared, repeated, kRounding, kRounding));
}

TEST_F(UNet, ResidualsOfZeroChangeNothingAndOthersDo) {
  const auto sample = draw({1, 4, 8, 8}), text = draw({1, 5, 12});
  const auto plain = unet_(sample, at_step(300), text);
  UNetResiduals residuals;
  residuals.adapter = {torch::zeros({1, 8, 8, 8}), torch::zeros({1, 16, 4, 4})};
  residuals.control_mid = torch::zeros({1, 16, 4, 4});
  EXPECT_TRUE(unet_(sample, at_step(300), text, residuals).equal(plain));
  residuals.control_mid = torch::ones({1, 16, 4, 4});
  EXPECT_FALSE(unet_(sample, at_step(300), text, residuals).allclose(plain));
}

TEST_F(UNet, AProcessorIsThereForItsScopeAndFormerOnesComeBack) {
  struct Silence : AttentionProcessor {
    Tensor process(AttentionImpl&, const Tensor& hidden_states, const Tensor&) override {
      return torch::zeros_like(hidden_states);
    }
  };
  const auto sample = draw({1, 4, 8, 8}), one = draw({1, 5, 12}), other = draw({1, 5, 12});
  const auto plain = unet_(sample, at_step(300), one);
  EXPECT_FALSE(unet_(sample, at_step(300), other).equal(plain));
  {
    const ScopedProcessor silent(unet_->cross_attentions(), std::make_shared<Silence>());
    // Nothing of the text is left where no cross-attention says anything.
    EXPECT_TRUE(unet_(sample, at_step(300), one).equal(unet_(sample, at_step(300), other)));
  }
  EXPECT_TRUE(unet_(sample, at_step(300), one).equal(plain));
}

TEST_F(UNet, TextForAnotherNumberOfLayersIsAMismatch) {
  const auto layers = unet_->cross_attention_count();
  EXPECT_THROW(unet_(draw({1, 4, 8, 8}), at_step(1), draw({1, layers + 1, 5, 12})), Error);
  EXPECT_EQ(unet_->cross_attention_names().size(), static_cast<std::size_t>(layers));
}

TEST_F(UNet, WeightsOfAnotherPrecisionAreCastToThatOfTheInput) {
  const auto sample = draw({1, 4, 8, 8}), text = draw({1, 5, 12});
  const auto exact = unet_(sample, at_step(300), text);
  unet_->to(torch::kBFloat16);
  const auto rounded = unet_(sample, at_step(300), text);
  EXPECT_EQ(rounded.scalar_type(), torch::kFloat32);
  EXPECT_LT((rounded - exact).norm().item<double>(), 0.05 * exact.norm().item<double>());
}

TEST(FeatureSizes, OddSidesRoundUpAsTheConvolutionsDo) {
  const auto size = [](std::int64_t height, std::int64_t width, std::int64_t positions) {
    const auto found = feature_size(height, width, positions);
    return std::pair(found.height, found.width);
  };
  EXPECT_THAT(size(9, 5, 45), Pair(9, 5));
  EXPECT_THAT(size(9, 5, 15), Pair(5, 3));
  EXPECT_THAT(size(9, 5, 6), Pair(3, 2));
  EXPECT_THROW(size(9, 5, 7), c10::Error);
}

TEST(Timesteps, AreSinesAndCosinesOfFallingFrequency) {
  const UNetConfig config;  // cosines first, as Stable Diffusion has them
  const auto embedded = timestep_embedding(torch::tensor({0, 13}, torch::kInt64), 8, config);
  EXPECT_TRUE(embedded[0].equal(torch::tensor({1, 1, 1, 1, 0, 0, 0, 0}, torch::kFloat32)));
  for (std::int64_t i = 0; i < 4; ++i) {
    const double angle = 13.0 * std::pow(10000.0, -static_cast<double>(i) / 4.0);
    EXPECT_NEAR(embedded[1][i].item<double>(), std::cos(angle), 1e-5);
    EXPECT_NEAR(embedded[1][i + 4].item<double>(), std::sin(angle), 1e-5);
  }
}

TEST(ShapesOnlyNetworks, KnowTheirShapesAndTakeNoMemory) {
  const auto shapes = [] {
    const ShapesOnly no_memory;
    auto config = unet_config();
    config.block_out_channels = {1280, 1280};
    return UNet2DConditionModel(config);
  }();
  for (const auto& weight : shapes->parameters()) {
    EXPECT_EQ(weight.storage().nbytes(), sizeof(float)) << weight.sizes();
  }
  EXPECT_GT(new_parameter({3, 4}).storage().nbytes(), sizeof(float)) << "the scope has ended";
}

// ---- Text ----

ClipTextConfig clip_config() {
  ClipTextConfig config;
  config.hidden_size = 16;
  config.intermediate_size = 32;
  config.num_hidden_layers = 2;
  config.num_attention_heads = 2;
  config.vocab_size = 20;
  config.max_position_embeddings = 6;
  config.eos_token_id = 19;
  return config;
}

class ClipText : public testing::Test {
 protected:
  ClipText() { fill(*encoder_, 5); }
  static Tensor ids(std::vector<std::int64_t> list) {
    return torch::tensor(list, torch::kInt64).unsqueeze(0);
  }

  const torch::NoGradGuard no_grad_;
  CLIPTextModel encoder_{clip_config()};
};

TEST_F(ClipText, ATokenSeesNoneBehindIt) {
  const auto one = encoder_(ids({1, 2, 3, 19})).last_hidden_state;
  const auto other = encoder_(ids({1, 2, 7, 19})).last_hidden_state;
  EXPECT_TRUE(torch::allclose(one.narrow(1, 0, 2), other.narrow(1, 0, 2), kRounding, kRounding));
  EXPECT_FALSE(torch::allclose(one[0][2], other[0][2]));
}

TEST_F(ClipText, PoolsTheFirstEndToken) {
  const auto out = encoder_(ids({1, 2, 19, 19, 19}));
  EXPECT_TRUE(out.pooler_output[0].equal(out.last_hidden_state[0][2]));
}

TEST_F(ClipText, RowsOfConceptsStandBehindTheVocabulary) {
  const auto row = encoder_->token_embedding()[3].clone().unsqueeze(0);
  EXPECT_THROW(encoder_(ids({1, 20, 19})), std::exception);
  encoder_->set_concept_rows(row);
  const auto as_concept = encoder_(ids({1, 20, 19})).last_hidden_state;
  EXPECT_TRUE(as_concept.equal(encoder_(ids({1, 3, 19})).last_hidden_state));
}

TEST_F(ClipText, GivesEveryLayerAndRefusesWhatIsTooLong) {
  const auto out = encoder_(ids({1, 2, 19}));
  EXPECT_EQ(out.hidden.size(), 2U);
  EXPECT_FALSE(out.hidden.back().equal(out.last_hidden_state)) << "the final norm comes behind it";
  EXPECT_THROW(encoder_(ids({1, 2, 3, 4, 5, 6, 19})), c10::Error);
}

TEST(ClipTowers, EmbeddingsHaveLengthOne) {
  const torch::NoGradGuard no_grad;
  ClipVisionConfig vision;
  vision.hidden_size = 16;
  vision.intermediate_size = 32;
  vision.num_hidden_layers = 1;
  vision.num_attention_heads = 2;
  vision.image_size = 8;
  vision.patch_size = 4;
  CLIPModel clip(clip_config(), vision, 6);
  fill(*clip, 6);
  auto generator = seeded_generator(7);
  const auto pictures = clip->image_embeds(randn({3, 3, 8, 8}, generator));
  EXPECT_TRUE(torch::allclose(pictures.norm(2, {1}), torch::ones({3})));
  const auto text = clip->text_embeds(torch::tensor({{1, 2, 19}}, torch::kInt64));
  EXPECT_NEAR(text.norm().item<double>(), 1.0, 1e-6);
  EXPECT_THROW(clip->image_embeds(torch::zeros({1, 3, 9, 8})), c10::Error);
}

// ---- Pictures ----

TEST(Vae, HalvesAndDoublesWholePictures) {
  const torch::NoGradGuard no_grad;
  VaeConfig config;
  config.block_out_channels = {8, 8, 16};
  config.layers_per_block = 1;
  config.norm_num_groups = 4;
  AutoencoderKL vae(config);
  fill(*vae, 8);
  auto generator = seeded_generator(9);
  const auto pictures = randn({2, 3, 16, 24}, generator);
  const auto latents = vae->encode(pictures);
  EXPECT_THAT(latents.mean.sizes().vec(), ElementsAre(2, 4, 4, 6));
  const auto moments = vae->moments(pictures);
  EXPECT_TRUE(moments.narrow(1, 0, 4).equal(latents.mean));
  EXPECT_TRUE(moments.narrow(1, 4, 4).clamp(-30, 20).equal(latents.logvar));
  EXPECT_TRUE(torch::allclose(latents.std().square(), latents.logvar.exp()));
  EXPECT_THAT(vae->decode(latents.mean).sizes().vec(), ElementsAre(2, 3, 16, 24));
  const auto alone = vae->encode(pictures.narrow(0, 1, 1)).mean;
  EXPECT_TRUE(torch::allclose(latents.mean.narrow(0, 1, 1), alone, kRounding, kRounding));
}

// ---- Conditions ----

TEST(T2IAdapters, GiveAMapForEachLevelOfTheUNet) {
  const torch::NoGradGuard no_grad;
  for (const auto kind : {T2IAdapterKind::kFull, T2IAdapterKind::kLight}) {
    T2IAdapter adapter(T2IAdapterConfig{
        .kind = kind, .channels = {8, 16, 16}, .num_res_blocks = 1, .downscale_factor = 4});
    fill(*adapter, 10);
    const auto features = adapter(torch::rand({2, 3, 20, 24}));
    ASSERT_EQ(features.size(), 3U);
    EXPECT_THAT(features[0].sizes().vec(), ElementsAre(2, 8, 5, 6));
    EXPECT_THAT(features[1].sizes().vec(), ElementsAre(2, 16, 3, 3)) << "odd sides round up";
    EXPECT_THAT(features[2].sizes().vec(), ElementsAre(2, 16, 2, 2));
  }
  T2IAdapter sketch(T2IAdapterConfig{.in_channels = 1, .channels = {8}, .downscale_factor = 4});
  EXPECT_THROW(sketch(torch::rand({1, 3, 8, 8})), c10::Error);
}

class ControlNets : public UNet {
 protected:
  ControlNetModel control(ControlNetConfig config = {}) {
    config.unet = unet_config();
    config.conditioning_embedding_out_channels = {4, 8};
    ControlNetModel result(config);
    fill(*result, 11);
    return result;
  }
};

TEST_F(ControlNets, AddOneTensorForEachSkipConnectionAndOneForTheMiddle) {
  auto network = control();
  const auto sample = draw({1, 4, 8, 8}), text = draw({1, 5, 12});
  const auto picture = network->embed_picture(torch::rand({1, 3, 16, 16}));
  const auto added = network(sample, at_step(300), text, picture);
  // conv_in, a resnet and a halving of the first level, a resnet of the second.
  EXPECT_EQ(added.down.size(), 4U);
  UNetResiduals residuals;
  residuals.control_down = added.down;
  residuals.control_mid = added.mid;
  EXPECT_FALSE(
      unet_(sample, at_step(300), text, residuals).allclose(unet_(sample, at_step(300), text)));
}

TEST_F(ControlNets, StartAsNothing) {
  auto network = control();
  for (auto& entry : network->named_parameters()) {
    const bool zero = entry.key().starts_with("controlnet_down_blocks") ||
                      entry.key().starts_with("controlnet_mid_block");
    if (zero) entry.value().zero_();
  }
  const auto picture = network->embed_picture(torch::rand({1, 3, 16, 16}));
  const auto added = network(draw({1, 4, 8, 8}), at_step(300), draw({1, 5, 12}), picture);
  for (const auto& residual : added.down) EXPECT_EQ(residual.abs().max().item<double>(), 0.0);
  EXPECT_EQ(added.mid.abs().max().item<double>(), 0.0);
}

TEST_F(ControlNets, BlueFirstIsThePictureTurnedAround) {
  const auto picture = torch::rand({1, 3, 16, 16});
  EXPECT_TRUE(control({.reads_bgr = true})
                  ->embed_picture(picture)
                  .equal(control()->embed_picture(picture.flip({1}))));
}

TEST_F(ControlNets, OfALayerwiseTextTheyReadTheFirstSlices) {
  auto network = control();
  const auto sample = draw({1, 4, 8, 8});
  const auto picture = network->embed_picture(torch::rand({1, 3, 16, 16}));
  auto text = draw({1, unet_->cross_attention_count(), 5, 12});
  const auto before = network(sample, at_step(300), text, picture).mid;
  text.select(1, -1).add_(1.0);  // of an up block, which ControlNet has not
  EXPECT_TRUE(network(sample, at_step(300), text, picture).mid.equal(before));
  text.select(1, 0).add_(1.0);
  EXPECT_FALSE(network(sample, at_step(300), text, picture).mid.equal(before));
}

}  // namespace
}  // namespace mos::nn
