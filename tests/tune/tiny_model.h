#pragma once

#include <cmath>
#include <string>

#include "mos/base/file.h"
#include "mos/base/json.h"
#include "mos/base/random.h"
#include "mos/diffusion/model.h"
#include "mos/tune/dataset.h"
#include "mos/tune/options.h"
#include "tests/support/temp_dir.h"

/// A whole Stable Diffusion model of a few thousand random weights, and pictures to tune it on.
namespace mos::tune::testing {

/// Letters, digits and the one word "man" (id of "man</w>" is the last before the special tokens).
inline text::CLIPTokenizer tiny_tokenizer() {
  const TempDir folder;
  Json vocabulary = Json::object();
  const auto add = [&](const std::string& token) { vocabulary[token] = vocabulary.size(); };
  for (char letter = '!'; letter <= '~'; ++letter) add(std::string(1, letter));
  for (char letter = '!'; letter <= '~'; ++letter) add(std::string(1, letter) + "</w>");
  add("ma");
  add("man</w>");
  add("<|startoftext|>");
  add("<|endoftext|>");
  write_text_file(folder / "vocab.json", vocabulary.dump());
  write_text_file(folder / "merges.txt", "#version: 0.2\nm a\nma n</w>\n");
  write_text_file(folder / "tokenizer_config.json", R"({"model_max_length": 24})");
  return text::CLIPTokenizer::from_directory(folder.path());
}

inline void fill_randomly(torch::nn::Module& network, at::Generator& generator) {
  torch::NoGradGuard no_grad;
  for (auto& item : network.named_parameters()) {
    auto& value = item.value();
    if (value.dim() > 1) {
      const auto inputs = static_cast<double>(value.numel() / value.size(0));
      value.copy_(randn(value.sizes(), generator) / std::sqrt(inputs));
    } else {
      value.fill_(item.key().ends_with("weight") ? 1.0 : 0.0);
    }
  }
}

/// 32² pictures, 8² latents, 6 cross-attention layers, text of width 16.
inline diffusion::Model tiny_model() {
  auto tokenizer = tiny_tokenizer();
  const auto words = tokenizer.vocab_size();
  const Json text = {{"hidden_size", 16},        {"intermediate_size", 32},
                     {"num_hidden_layers", 2},   {"num_attention_heads", 2},
                     {"vocab_size", words},      {"max_position_embeddings", 24},
                     {"eos_token_id", words - 1}};
  const Json vae = {{"block_out_channels", {8, 8, 8}},
                    {"layers_per_block", 1},
                    {"norm_num_groups", 4},
                    {"latent_channels", 4},
                    {"down_block_types", Json::array({"DownEncoderBlock2D", "DownEncoderBlock2D",
                                                      "DownEncoderBlock2D"})},
                    {"up_block_types",
                     Json::array({"UpDecoderBlock2D", "UpDecoderBlock2D", "UpDecoderBlock2D"})}};
  const Json unet = {
      {"sample_size", 8},
      {"in_channels", 4},
      {"out_channels", 4},
      {"block_out_channels", {8, 16}},
      {"layers_per_block", 1},
      {"norm_num_groups", 4},
      {"attention_head_dim", 2},
      {"cross_attention_dim", 16},
      {"down_block_types", Json::array({"CrossAttnDownBlock2D", "CrossAttnDownBlock2D"})},
      {"up_block_types", Json::array({"CrossAttnUpBlock2D", "CrossAttnUpBlock2D"})}};
  const Json scheduler = {
      {"_class_name", "DDIMScheduler"},   {"beta_start", 0.00085},       {"beta_end", 0.012},
      {"beta_schedule", "scaled_linear"}, {"num_train_timesteps", 1000}, {"clip_sample", false}};
  using enum checkpoint::Part;
  auto model = diffusion::Model::create(
      std::move(tokenizer), {.configs = {{kTextEncoder, text}, {kUNet, unet}, {kVae, vae}},
                             .scheduler_config = scheduler});
  auto generator = seeded_generator(11);
  fill_randomly(*model.towers[0].encoder, generator);
  fill_randomly(*model.vae, generator);
  fill_randomly(*model.unet, generator);
  return model;
}

/// Three pictures of different shapes; the first two have masks.
inline ConceptDataset tiny_dataset() {
  auto generator = seeded_generator(12);
  ConceptDataset dataset;
  dataset.words = {"<fox1>", "<fox2>"};
  dataset.class_word = "man";
  const std::int64_t shapes[][2] = {{32, 32}, {48, 32}, {32, 40}};
  for (std::size_t i = 0; i < 3; ++i) {
    const auto height = shapes[i][0], width = shapes[i][1];
    TrainingPicture picture{.name = std::to_string(i), .caption = {std::string(kPlaceholder)}};
    picture.pixels = randint(0, 256, {height, width, 3}, generator).to(torch::kUInt8);
    if (i < 2) {
      picture.mask = torch::zeros({height, width}, torch::kUInt8);
      picture.mask.narrow(0, 8, 16).narrow(1, 8, 16).fill_(255);
    }
    dataset.pictures.push_back(picture);
  }
  return dataset;
}

inline TuneOptions tiny_options() {
  TuneOptions options;
  options.pictures.variants = 3;
  options.optimiser.steps = 4;
  options.optimiser.batch = 2;
  options.optimiser.embedding_rate = 1e-2;
  options.optimiser.text_rate = 1e-3;
  options.optimiser.unet_rate = 1e-3;
  options.optimiser.norm_threshold = 0;
  options.run.dtype = "float32";
  options.run.preview_pictures = 0;
  return options;
}

}  // namespace mos::tune::testing
