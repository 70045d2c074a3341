#include "mos/checkpoint/reference_models.h"

#include <fmt/core.h>

#include "mos/base/error.h"

namespace mos::checkpoint {
namespace {

Json vae(std::int64_t sample_size) {
  return {{"_class_name", "AutoencoderKL"},
          {"act_fn", "silu"},
          {"block_out_channels", {128, 256, 512, 512}},
          {"down_block_types", Json::array({"DownEncoderBlock2D", "DownEncoderBlock2D",
                                            "DownEncoderBlock2D", "DownEncoderBlock2D"})},
          {"in_channels", 3},
          {"latent_channels", 4},
          {"layers_per_block", 2},
          {"norm_num_groups", 32},
          {"out_channels", 3},
          {"sample_size", sample_size},
          {"scaling_factor", 0.18215},
          {"up_block_types", Json::array({"UpDecoderBlock2D", "UpDecoderBlock2D",
                                          "UpDecoderBlock2D", "UpDecoderBlock2D"})}};
}

/// What the U-Nets of both families share.
Json unet(std::int64_t sample_size, std::int64_t text_width) {
  return {{"_class_name", "UNet2DConditionModel"},
          {"act_fn", "silu"},
          {"block_out_channels", {320, 640, 1280, 1280}},
          {"cross_attention_dim", text_width},
          {"down_block_types", Json::array({"CrossAttnDownBlock2D", "CrossAttnDownBlock2D",
                                            "CrossAttnDownBlock2D", "DownBlock2D"})},
          {"flip_sin_to_cos", true},
          {"freq_shift", 0},
          {"in_channels", 4},
          {"layers_per_block", 2},
          {"norm_eps", 1e-5},
          {"norm_num_groups", 32},
          {"out_channels", 4},
          {"sample_size", sample_size},
          {"up_block_types", Json::array({"UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D",
                                          "CrossAttnUpBlock2D"})}};
}

Json text(std::int64_t width, std::int64_t layers, std::int64_t heads, const char* act) {
  return {{"architectures", {"CLIPTextModel"}},
          {"hidden_act", act},
          {"hidden_size", width},
          {"intermediate_size", 4 * width},
          {"layer_norm_eps", 1e-5},
          {"max_position_embeddings", 77},
          {"model_type", "clip_text_model"},
          {"num_attention_heads", heads},
          {"num_hidden_layers", layers},
          {"vocab_size", 49408}};
}

Json scheduler(const char* class_name, const char* prediction_type) {
  return {{"_class_name", class_name},
          {"beta_start", 0.00085},
          {"beta_end", 0.012},
          {"beta_schedule", "scaled_linear"},
          {"num_train_timesteps", 1000},
          {"clip_sample", false},
          {"set_alpha_to_one", false},
          {"steps_offset", 1},
          {"prediction_type", prediction_type}};
}

}  // namespace

ModelConfigs reference_configs(const std::string& name) {
  if (name == "sd15") {
    ModelConfigs configs{{{Part::kTextEncoder, text(768, 12, 12, "quick_gelu")},
                          {Part::kVae, vae(512)},
                          {Part::kUNet, unet(64, 768)}},
                         scheduler("PNDMScheduler", "epsilon")};
    // The number of heads, which diffusers calls so.
    configs.networks[Part::kUNet]["attention_head_dim"] = 8;
    configs.scheduler["skip_prk_steps"] = true;
    return configs;
  }
  if (name == "sd21") {
    // The text encoder is OpenCLIP's ViT-H without its last layer, as diffusers ships it.
    ModelConfigs configs{{{Part::kTextEncoder, text(1024, 23, 16, "gelu")},
                          {Part::kVae, vae(768)},
                          {Part::kUNet, unet(96, 1024)}},
                         scheduler("DDIMScheduler", "v_prediction")};
    // Heads of 64 channels at every level.
    configs.networks[Part::kUNet]["attention_head_dim"] = {5, 10, 20, 20};
    configs.networks[Part::kUNet]["use_linear_projection"] = true;
    return configs;
  }
  throw Error(ErrorKind::kUsage,
              fmt::format("there are no configs called \"{}\", expected sd15 or sd21", name));
}

}  // namespace mos::checkpoint
