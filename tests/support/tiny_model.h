#pragma once

#include <cmath>
#include <string>

#include "mos/base/file.h"
#include "mos/base/json.h"
#include "mos/base/random.h"
#include "mos/diffusion/model.h"
#include "tests/support/temp_dir.h"

/// A random Stable Diffusion model that computes in milliseconds: two levels, two heads, a
/// vocabulary of letters and the word "cat".
namespace mos::tiny {

inline text::CLIPTokenizer tokenizer() {
  Json vocabulary = Json::object();
  std::int64_t next = 0;
  for (const char* end : {"", "</w>"}) {
    for (char letter = 'a'; letter <= 'z'; ++letter) {
      vocabulary[std::string(1, letter) + end] = next++;
    }
  }
  for (const char* token : {"ca", "cat</w>", "<|startoftext|>", "<|endoftext|>"}) {
    vocabulary[token] = next++;
  }
  const TempDir directory;
  write_text_file(directory / "vocab.json", vocabulary.dump());
  write_text_file(directory / "merges.txt", "#version: 0.2\nc a\nca t</w>\n");
  write_text_file(directory / "tokenizer_config.json", R"({"model_max_length": 12})");
  return text::CLIPTokenizer::from_directory(directory.path());
}

inline Json text_encoder_config() {
  return {{"hidden_size", 16},        {"intermediate_size", 32},    {"num_hidden_layers", 2},
          {"num_attention_heads", 2}, {"hidden_act", "quick_gelu"}, {"max_position_embeddings", 12},
          {"vocab_size", 56},         {"layer_norm_eps", 1e-5}};
}

inline Json vae_config() {
  return {{"_class_name", "AutoencoderKL"},
          {"act_fn", "silu"},
          {"in_channels", 3},
          {"out_channels", 3},
          {"latent_channels", 4},
          {"block_out_channels", {8, 16}},
          {"down_block_types", {"DownEncoderBlock2D", "DownEncoderBlock2D"}},
          {"up_block_types", {"UpDecoderBlock2D", "UpDecoderBlock2D"}},
          {"layers_per_block", 1},
          {"norm_num_groups", 4},
          {"scaling_factor", 0.18215}};
}

inline Json unet_config() {
  return {{"_class_name", "UNet2DConditionModel"},
          {"act_fn", "silu"},
          {"in_channels", 4},
          {"out_channels", 4},
          {"sample_size", 8},
          {"block_out_channels", {8, 16}},
          {"down_block_types", {"CrossAttnDownBlock2D", "DownBlock2D"}},
          {"up_block_types", {"UpBlock2D", "CrossAttnUpBlock2D"}},
          {"layers_per_block", 1},
          {"attention_head_dim", 2},
          {"cross_attention_dim", 16},
          {"norm_num_groups", 4}};
}

inline Json scheduler_config() {
  return {{"_class_name", "DDIMScheduler"},
          {"num_train_timesteps", 1000},
          {"beta_start", 0.00085},
          {"beta_end", 0.012},
          {"beta_schedule", "scaled_linear"},
          {"clip_sample", false},
          {"set_alpha_to_one", false},
          {"steps_offset", 1}};
}

/// Matrices are scaled so that activations keep their size; vectors (norms, biases) are near 1.
inline void fill_randomly(torch::nn::Module& module, at::Generator& generator) {
  torch::NoGradGuard no_grad;
  for (auto& parameter : module.parameters()) {
    const auto noise = randn(parameter.sizes(), generator);
    if (parameter.dim() < 2) {
      parameter.copy_(1.0 + 0.1 * noise);
    } else {
      const auto inputs = static_cast<double>(parameter.numel() / parameter.size(0));
      parameter.copy_(noise / std::sqrt(inputs));
    }
  }
}

inline diffusion::ModelSettings settings() {
  using enum checkpoint::Part;
  return {.configs = {{kTextEncoder, text_encoder_config()},
                      {kUNet, unet_config()},
                      {kVae, vae_config()}},
          .scheduler_config = scheduler_config()};
}

inline diffusion::Model model(std::uint64_t seed = 1) {
  auto result = diffusion::Model::create(tokenizer(), settings());
  auto generator = seeded_generator(seed);
  fill_randomly(*result.towers[0].encoder, generator);
  fill_randomly(*result.vae, generator);
  fill_randomly(*result.unet, generator);
  return result;
}

/// The tiny model with a U-Net that reads a mask and a masked picture, too.
inline diffusion::Model inpainting_model() {
  auto own = settings();
  own.configs[checkpoint::Part::kUNet]["in_channels"] = 9;
  auto result = diffusion::Model::create(tokenizer(), own);
  auto generator = seeded_generator(6);
  for (const auto& [part, config] : own.configs) fill_randomly(*result.network(part), generator);
  return result;
}

}  // namespace mos::tiny
