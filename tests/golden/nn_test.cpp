#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "mos/io/safetensors.h"
#include "mos/io/state_dict.h"
#include "mos/nn/clip.h"
#include "mos/nn/unet.h"
#include "mos/nn/vae.h"
#include "tests/support/golden.h"

namespace mos::nn {
namespace {

/// Access by file name; each test skips, naming the file, when the folder lacks it.
class GoldenNn : public testing::Test {
 protected:
  static io::StateDict weights(const std::string& name) {
    return io::load_safetensors(*golden::find(name));
  }
  static Json config(const std::string& name) { return read_json_file(*golden::find(name)); }
  torch::NoGradGuard no_grad_;
};

template <typename Module>
void load(Module& model, const io::StateDict& dict) {
  io::load_into(*model, dict);
}

const golden::Names kUNetFiles = {"unet.safetensors", "tiny_sd/unet/config.json",
                                  "tiny_sd/unet/diffusion_pytorch_model.safetensors"};

UNet2DConditionModel golden_unet() {
  UNet2DConditionModel unet(
      UNetConfig::from_json(read_json_file(*golden::find("tiny_sd/unet/config.json"))));
  load(unet,
       io::load_safetensors(*golden::find("tiny_sd/unet/diffusion_pytorch_model.safetensors")));
  return unet;
}

TEST_F(GoldenNn, UNetPredictsTheReferenceNoise) {
  if (const auto why = golden::missing(kUNetFiles); !why.empty()) GTEST_SKIP() << why;
  auto unet = golden_unet();
  const auto ref = weights("unet.safetensors");
  const auto out = unet(ref.at("latents"), ref.at("timesteps"), ref.at("ctx"));
  EXPECT_LE(golden::max_abs_difference(out, ref.at("plain_out")),
            golden::tolerance("unet.plain_out"));
}

TEST_F(GoldenNn, UNetTakesSizesThatAreNoMultipleOfItsDownscale) {
  if (const auto why = golden::missing(kUNetFiles); !why.empty()) GTEST_SKIP() << why;
  auto unet = golden_unet();
  const io::SafetensorsFile file(*golden::find("unet.safetensors"));
  const auto latents = file.get("odd_latents");
  const auto step = static_cast<std::int64_t>(std::stoll(file.metadata().at("odd_timestep")));
  const auto context = file.get("ctx").slice(0, 0, latents.size(0));
  const auto out = unet(latents, torch::full({1}, step, torch::kInt64), context);
  EXPECT_LE(golden::max_abs_difference(out, file.get("odd_out")),
            golden::tolerance("unet.plain_out"));
}

TEST_F(GoldenNn, EachCrossAttentionLayerReadsItsOwnTextSlice) {
  if (const auto why = golden::missing(kUNetFiles); !why.empty()) GTEST_SKIP() << why;
  auto unet = golden_unet();
  const auto ref = weights("unet.safetensors");
  const auto run = [&](const torch::Tensor& context) {
    return unet(ref.at("latents"), ref.at("timesteps"), context);
  };
  const auto layerwise = ref.at("edlora_ctx");
  const auto tolerance = golden::tolerance("unet.edlora_out");
  EXPECT_LE(golden::max_abs_difference(run(layerwise), ref.at("edlora_out")), tolerance);
  EXPECT_LE(golden::max_abs_difference(run(layerwise.flip(1)), ref.at("edlora_reversed_out")),
            tolerance);
  const auto same = ref.at("ctx").unsqueeze(1).expand({-1, layerwise.size(1), -1, -1});
  EXPECT_LE(golden::max_abs_difference(run(same), ref.at("edlora_same_ctx_out")), tolerance);
}

TEST_F(GoldenNn, CrossAttentionLayersAreNumberedDownMidUp) {
  if (const auto why = golden::missing(kUNetFiles); !why.empty()) GTEST_SKIP() << why;
  const auto order = parse_json(
      io::SafetensorsFile(*golden::find("unet.safetensors")).metadata().at("cross_attention_order"),
      "cross_attention_order");
  const auto names = golden_unet()->cross_attention_names();
  ASSERT_EQ(names.size(), order.size());
  for (std::size_t i = 0; i < names.size(); ++i)
    EXPECT_EQ(names[i], order[std::to_string(i)].get<std::string>());
}

TEST_F(GoldenNn, TimestepEmbeddingAndFirstConvolutionAreTheReferenceOnes) {
  if (const auto why = golden::missing(kUNetFiles); !why.empty()) GTEST_SKIP() << why;
  const auto ref = weights("unet.safetensors");
  const auto settings = UNetConfig::from_json(config("tiny_sd/unet/config.json"));
  const auto embedding =
      timestep_embedding(ref.at("timesteps"), settings.block_out_channels.front(), settings);
  EXPECT_LE(golden::max_abs_difference(embedding, ref.at("plain_feat.time_proj")), 1e-4)
      << "float32 sine of arguments up to 1000";
}

struct VaeCase : testing::TestWithParam<const char*> {};

TEST_P(VaeCase, GoldenVaeEncodesAndDecodesLikeTheReference) {
  const std::string file = GetParam();
  const auto why = golden::missing({file, "vae.safetensors", "tiny_sd/vae/config.json"});
  if (!why.empty()) GTEST_SKIP() << why;
  torch::NoGradGuard no_grad;
  AutoencoderKL vae(VaeConfig::from_json(read_json_file(*golden::find("tiny_sd/vae/config.json"))));
  load(vae, io::load_safetensors(*golden::find(file)));
  const auto ref = io::load_safetensors(*golden::find("vae.safetensors"));
  const auto tolerance = golden::tolerance("vae.moments");

  EXPECT_LE(golden::max_abs_difference(vae->moments(ref.at("image")), ref.at("moments")),
            tolerance);
  const auto posterior = vae->encode(ref.at("image"));
  EXPECT_LE(golden::max_abs_difference(posterior.mean, ref.at("mean")), tolerance);
  EXPECT_LE(golden::max_abs_difference(posterior.logvar, ref.at("logvar")), tolerance);
  EXPECT_LE(golden::max_abs_difference(posterior.std(), ref.at("std")), tolerance);
  const auto scale = vae->config().scaling_factor;
  EXPECT_LE(golden::max_abs_difference(posterior.mean * scale, ref.at("mode_scaled")), tolerance);
  EXPECT_LE(golden::max_abs_difference(vae->decode(ref.at("decode_in")), ref.at("decode_out")),
            golden::tolerance("vae.decode"));
  EXPECT_LE(golden::max_abs_difference(vae->decode(ref.at("decode_in") / scale),
                                       ref.at("quant_in_decode_scaled")),
            golden::tolerance("vae.decode"));
}

INSTANTIATE_TEST_SUITE_P(KeyNames, VaeCase,
                         testing::Values("tiny_sd/vae/diffusion_pytorch_model.safetensors",
                                         "vae_deprecated_keys.safetensors"));

TEST_F(GoldenNn, TextEncoderGivesTheReferenceStates) {
  const auto why = golden::missing({"text_encoder.safetensors", "tiny_sd/text_encoder/config.json",
                                    "tiny_sd/text_encoder/model.safetensors"});
  if (!why.empty()) GTEST_SKIP() << why;
  CLIPTextModel text(ClipTextConfig::from_json(config("tiny_sd/text_encoder/config.json")));
  load(text, weights("tiny_sd/text_encoder/model.safetensors"));
  const auto ref = weights("text_encoder.safetensors");
  const auto out = text(ref.at("input_ids"));
  const auto tolerance = golden::tolerance("text_encoder.last_hidden_state");
  EXPECT_LE(golden::max_abs_difference(out.embeddings, ref.at("embeddings")), tolerance);
  EXPECT_LE(golden::max_abs_difference(out.hidden.front(), ref.at("hidden_1")), tolerance);
  EXPECT_LE(golden::max_abs_difference(out.hidden.back(), ref.at("hidden_last_prenorm")),
            tolerance);
  EXPECT_LE(golden::max_abs_difference(out.last_hidden_state, ref.at("last_hidden_state")),
            tolerance);
  EXPECT_LE(golden::max_abs_difference(out.pooler_output, ref.at("pooler_output")), tolerance);
  EXPECT_LE(golden::max_abs_difference(text(ref.at("short_input_ids")).last_hidden_state,
                                       ref.at("short_last_hidden_state")),
            tolerance);
}

TEST_F(GoldenNn, ClipTowersGiveTheReferenceEmbeddings) {
  const auto why =
      golden::missing({"clip.safetensors", "tiny_clip/config.json", "tiny_clip/model.safetensors"});
  if (!why.empty()) GTEST_SKIP() << why;
  CLIPModel clip(CLIPModelImpl::from_json(config("tiny_clip/config.json")));
  load(clip, weights("tiny_clip/model.safetensors"));
  const auto ref = weights("clip.safetensors");
  const auto tolerance = golden::tolerance("text_encoder.last_hidden_state");

  const auto vision = clip->vision(ref.at("pixel_values"));
  const auto text = clip->text(ref.at("input_ids"));
  EXPECT_LE(
      golden::max_abs_difference(vision.last_hidden_state, ref.at("vision_last_hidden_state")),
      tolerance);
  EXPECT_LE(golden::max_abs_difference(vision.pooler_output, ref.at("vision_pooler_output")),
            tolerance);
  EXPECT_LE(golden::max_abs_difference(text.last_hidden_state, ref.at("text_last_hidden_state")),
            tolerance);
  EXPECT_LE(golden::max_abs_difference(text.pooler_output, ref.at("text_pooler_output")),
            tolerance);
  const auto image_embeds = clip->image_embeds(ref.at("pixel_values"));
  const auto text_embeds = clip->text_embeds(ref.at("input_ids"));
  EXPECT_LE(golden::max_abs_difference(image_embeds, ref.at("image_embeds")), tolerance);
  EXPECT_LE(golden::max_abs_difference(text_embeds, ref.at("text_embeds")), tolerance);
  EXPECT_LE(golden::max_abs_difference(clip->logit_scale() * image_embeds.matmul(text_embeds.t()),
                                       ref.at("logits_per_image")),
            tolerance * clip->logit_scale().item<double>());
}

}  // namespace
}  // namespace mos::nn
