#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "mos/base/error.h"
#include "mos/base/log.h"
#include "mos/diffusion/model.h"
#include "mos/io/safetensors.h"
#include "mos/io/tensor_file.h"
#include "mos/io/torch_writer.h"
#include "tests/support/temp_dir.h"
#include "tests/support/tiny_model.h"

namespace mos::diffusion {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;
using testing::Not;

std::string weights_of(const fs::path& model) {
  return read_text_file(model / "unet/diffusion_pytorch_model.safetensors") +
         read_text_file(model / "vae/diffusion_pytorch_model.safetensors") +
         read_text_file(model / "text_encoder/model.safetensors");
}

std::string loading_error(ErrorKind kind, const fs::path& path,
                          const checkpoint::ReadOptions& read = {}) {
  try {
    Model::load(path, {.read = read});
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), kind) << error.what();
    EXPECT_THAT(error.what(), Not(HasSubstr("\n")));
    return error.what();
  }
  ADD_FAILURE() << path << " was loaded";
  return "";
}

/// A tiny model in a folder and in one file.
class SingleFile : public testing::Test {
 protected:
  void SetUp() override {
    tiny::model().save(folder());
    Model::load(folder()).save(file());
  }
  fs::path folder() const { return directory_ / "model"; }
  fs::path file() const { return directory_ / "model.safetensors"; }
  fs::path path(const std::string& name) const { return directory_ / name; }

  /// The file once more, with `change` made to its tensors.
  template <typename Change>
  void rewrite(Change change) const {
    auto read = io::read_tensor_file(file());
    change(read.tensors);
    io::save_safetensors(path("changed.safetensors"), read.tensors, read.metadata);
  }

 private:
  TempDir directory_;
};

TEST_F(SingleFile, GoingThereAndBackGivesTheSameFolder) {
  Model::load(file()).save(path("back"));
  EXPECT_EQ(weights_of(path("back")), weights_of(folder()));
  for (const char* name : {"unet/config.json", "scheduler/scheduler_config.json",
                           "tokenizer/vocab.json", "model_index.json"}) {
    EXPECT_EQ(read_text_file(path("back") / name), read_text_file(folder() / name)) << name;
  }
}

TEST_F(SingleFile, HasTheNamesOfTheOriginalCode) {
  const auto tensors = io::read_tensor_file(file()).tensors;
  EXPECT_TRUE(tensors.contains("model.diffusion_model.input_blocks.0.0.weight"));
  EXPECT_TRUE(tensors.contains("model.diffusion_model.output_blocks.1.1.conv.weight"));
  EXPECT_EQ(tensors.at("first_stage_model.decoder.mid.attn_1.q.weight").dim(), 4);
  EXPECT_TRUE(tensors.contains(
      "cond_stage_model.transformer.text_model.embeddings.token_embedding.weight"));
}

/// Averaged weights beside those of the U-Net, under the names that LitEma gives them.
void add_averaged(io::StateDict& tensors, float value) {
  io::StateDict averaged;
  for (const auto& [key, tensor] : tensors) {
    if (!key.starts_with("model.diffusion_model.")) continue;
    auto name = key.substr(std::string_view("model.").size());
    std::erase(name, '.');
    averaged["model_ema." + name] = torch::full_like(tensor, value);
  }
  tensors.merge(averaged);
  tensors["model_ema.decay"] = torch::tensor(0.9999F);
}

TEST_F(SingleFile, AveragedWeightsAreTakenWhenAskedFor) {
  rewrite([](io::StateDict& tensors) {
    add_averaged(tensors, 7.0F);
    tensors["betas"] = torch::zeros({1000});
  });
  const auto unet = [&](const checkpoint::ReadOptions& read) {
    const auto model = Model::load(path("changed.safetensors"), {.read = read});
    return io::state_dict_of(*model.unet);
  };
  for (const auto& [key, tensor] : unet({.ema = true})) {
    EXPECT_TRUE(tensor.eq(7.0F).all().item<bool>()) << key;
  }
  EXPECT_FALSE(unet({}).at("conv_out.bias").eq(7.0F).any().item<bool>());
}

TEST_F(SingleFile, AveragedWeightsAreNeverMixedWithTrainedOnes) {
  EXPECT_THAT(loading_error(ErrorKind::kUsage, file(), {.ema = true}), HasSubstr("model_ema"));
  rewrite([](io::StateDict& tensors) {
    add_averaged(tensors, 7.0F);
    tensors.erase("model_ema.diffusion_modelout2bias");
  });
  EXPECT_THAT(loading_error(ErrorKind::kMismatch, path("changed.safetensors"), {.ema = true}),
              HasSubstr("model_ema.diffusion_modelout2bias"));
}

TEST_F(SingleFile, AHalfMatchingFileListsEveryKey) {
  rewrite([](io::StateDict& tensors) {
    tensors.erase("model.diffusion_model.out.2.bias");
    tensors.erase("first_stage_model.quant_conv.bias");
    tensors["model.diffusion_model.input_blocks.0.0.bias"] = torch::zeros({3});
    tensors["model.diffusion_model.extra"] = torch::zeros({1});
  });
  const auto message = loading_error(ErrorKind::kMismatch, path("changed.safetensors"));
  EXPECT_THAT(message, HasSubstr("unet/conv_out.bias"));
  EXPECT_THAT(message, HasSubstr("vae/quant_conv.bias"));
  EXPECT_THAT(message, HasSubstr("unet/conv_in.bias ([3] in the file, [8] in the model)"));
  EXPECT_THAT(message, HasSubstr("model.diffusion_model.extra"));
}

TEST_F(SingleFile, ATensorUnderTwoNamesIsReadWhereBothAreTheSame) {
  const std::string newer = "cond_stage_model.transformer.text_model.final_layer_norm.weight";
  const std::string older = "cond_stage_model.transformer.final_layer_norm.weight";
  rewrite([&](io::StateDict& tensors) { tensors[older] = tensors.at(newer).clone(); });
  EXPECT_EQ(model_hash(Model::load(path("changed.safetensors"))), model_hash(Model::load(file())));
  for (const auto& other :
       {torch::zeros({16}), torch::zeros({3}), torch::zeros({16}).to(torch::kHalf)}) {
    rewrite([&](io::StateDict& tensors) { tensors[older] = other; });
    EXPECT_THAT(
        loading_error(ErrorKind::kMismatch, path("changed.safetensors")),
        testing::AllOf(HasSubstr(newer), HasSubstr("text_encoder/text_model.final_layer_norm"),
                       HasSubstr("other numbers")));
  }
}

TEST_F(SingleFile, WhatTrainersOfTheOriginalCodeLeaveBesideTheModelIsLeftOut) {
  rewrite([](io::StateDict& tensors) {
    tensors["embedding_manager.string_to_param_dict.*"] = torch::zeros({1, 16});
    tensors["embedding_manager.initial_embeddings"] = torch::zeros({1, 16});
  });
  EXPECT_EQ(model_hash(Model::load(path("changed.safetensors"))), model_hash(Model::load(file())));
}

TEST_F(SingleFile, WholeNumbersStayWholeInAnotherPrecision) {
  const std::string positions = "text_model.embeddings.position_ids";
  const auto stored = [&] {
    auto read = checkpoint::read_checkpoint(folder());
    read.networks.at(checkpoint::Part::kTextEncoder).tensors[positions] =
        torch::arange(12).unsqueeze(0);
    return read;
  };
  const checkpoint::WriteOptions half = {.dtype = torch::kFloat16};
  checkpoint::write_single_file(stored(), path("half.safetensors"), half);
  checkpoint::write_folder(stored(), path("half"), half);
  const auto single = io::load_safetensors(path("half.safetensors"));
  const auto text = io::load_safetensors(path("half") / "text_encoder/model.safetensors");
  const auto& in_single = single.at("cond_stage_model.transformer." + positions);
  EXPECT_EQ(in_single.scalar_type(), torch::kInt64);
  EXPECT_EQ(text.at(positions).scalar_type(), torch::kInt64);
  EXPECT_EQ(text.at("text_model.final_layer_norm.weight").scalar_type(), torch::kFloat16);
}

TEST_F(SingleFile, OfAnInpaintingModelIsReadBack) {
  const auto model = tiny::inpainting_model();
  model.save(path("inpainting"));
  Model::load(path("inpainting")).save(path("inpainting.safetensors"));
  const auto back = Model::load(path("inpainting.safetensors"));
  EXPECT_EQ(model_hash(back), model_hash(Model::load(path("inpainting"))));
  EXPECT_EQ(back.settings.configs.at(checkpoint::Part::kUNet).at("in_channels"), 9);
}

TEST_F(SingleFile, OtherFamiliesAreRefusedByName) {
  rewrite([](io::StateDict& tensors) {
    tensors["model.diffusion_model.input_blocks.0.0.weight"] = torch::zeros({8, 8, 3, 3});
  });
  EXPECT_THAT(loading_error(ErrorKind::kMismatch, path("changed.safetensors")),
              HasSubstr("picture-editing U-Net with 8 input channels"));
  const auto only = [&](const std::string& key, torch::Tensor tensor) {
    io::save_safetensors(path("other.safetensors"), {{key, std::move(tensor)}});
    return loading_error(ErrorKind::kMismatch, path("other.safetensors"));
  };
  EXPECT_THAT(only("double_blocks.0.img_attn.qkv.weight", torch::zeros({2, 2})), HasSubstr("Flux"));
  EXPECT_THAT(only("unet.lora_down.weight", torch::zeros({2, 2})), HasSubstr("holds no U-Net"));
  io::save_safetensors(
      path("other.safetensors"),
      {{"model.diffusion_model.input_blocks.0.0.weight", torch::zeros({8, 4, 3, 3})},
       {"model.diffusion_model.input_blocks.4.1.transformer_blocks.0.attn2.to_k.weight",
        torch::zeros({2, 2048})}});
  EXPECT_THAT(loading_error(ErrorKind::kMismatch, path("other.safetensors")),
              HasSubstr("Stable Diffusion XL"));
}

TEST_F(SingleFile, ThePredictionTypeCanBeSaid) {
  const auto model = Model::load(file(), {.read = {.prediction_type = "v_prediction"}});
  EXPECT_EQ(model.settings.scheduler_config.at("prediction_type"), "v_prediction");
  EXPECT_THAT(loading_error(ErrorKind::kUsage, file(), {.prediction_type = "x"}),
              HasSubstr("epsilon"));
}

/// A model without settings of ours, in the smallest widths that the original code's 32 groups of a
/// norm and heads of 64 allow.
Model foreign_model() {
  auto settings = tiny::settings();
  auto& text = settings.configs[checkpoint::Part::kTextEncoder];
  text["hidden_size"] = 64;
  text["num_attention_heads"] = 1;
  text["vocab_size"] = 49408;
  text["max_position_embeddings"] = 77;
  auto& vae = settings.configs[checkpoint::Part::kVae];
  auto& unet = settings.configs[checkpoint::Part::kUNet];
  for (auto* config : {&vae, &unet}) {
    (*config)["block_out_channels"] = {64, 128};
    (*config)["norm_num_groups"] = 32;
  }
  unet["attention_head_dim"] = 8;
  unet["cross_attention_dim"] = 64;
  auto model = Model::create(text::CLIPTokenizer::clip(), settings);
  auto generator = seeded_generator(5);
  tiny::fill_randomly(*model.towers[0].encoder, generator);
  tiny::fill_randomly(*model.vae, generator);
  tiny::fill_randomly(*model.unet, generator);
  return model;
}

TEST(TrainingCheckpoint, IsTheModelInItAndPredictsWhatTheYamlBesideItSays) {
  const TempDir directory;
  const auto model = foreign_model();
  model.save(directory / "model.safetensors");
  io::StateDict nested;
  for (const auto& [key, tensor] : io::read_tensor_file(directory / "model.safetensors").tensors) {
    nested["state_dict/" + key] = tensor;
  }
  io::save_torch_file(directory / "trained.ckpt", io::nest_tensors(nested));
  const auto loaded = [&] { return Model::load(directory / "trained.ckpt"); };
  EXPECT_EQ(model_hash(loaded()), model_hash(model));
  EXPECT_EQ(loaded().settings.scheduler_config.at("prediction_type"), "epsilon");
  write_text_file(directory / "trained.yaml", "model:\n  params:\n    parameterization: \"v\"\n");
  EXPECT_EQ(loaded().settings.scheduler_config.at("prediction_type"), "v_prediction");
}

/// A file as other programs write it: without settings of ours.
void save_without_settings(const Model& model, const fs::path& path) {
  model.save(path, Existing::kReplace);
  auto read = io::read_tensor_file(path);
  io::StateDict tensors;
  for (const auto& [key, tensor] : read.tensors) tensors[key] = tensor.clone();
  io::save_safetensors(path, tensors, {{"modelspec.prediction_type", "v"}});
}

TEST(ZeroTerminalSnr, OfAModelIsMarkedInItsFileAndKnownByTheMark) {
  const TempDir directory;
  auto model = foreign_model();
  auto& config = model.settings.scheduler_config;
  config["prediction_type"] = "v_prediction";
  const auto marked = [&] {
    save_without_settings(model, directory / "model.safetensors");
    return io::load_safetensors(directory / "model.safetensors").contains("ztsnr");
  };
  EXPECT_FALSE(marked());
  config["rescale_betas_zero_snr"] = true;
  EXPECT_TRUE(marked());
  const auto read = Model::load(directory / "model.safetensors");
  EXPECT_EQ(read.settings.scheduler_config.at("rescale_betas_zero_snr"), true);
  EXPECT_EQ(read.settings.scheduler_config.at("timestep_spacing"), "trailing");
  EXPECT_FLOAT_EQ(read.schedule.alpha_cumprod(999), 0.0F);
}

TEST(YamlBesideAModel, OfSomethingElseIsLeftAloneWithAWarning) {
  const TempDir directory;
  save_without_settings(foreign_model(), directory / "model.safetensors");
  write_text_file(directory / "model.yaml", "train:\n  steps: 3\n");
  std::string said;
  const log::ScopedSink sink([&](log::Level level, std::string_view text) {
    if (level == log::Level::kWarning) said += text;
  });
  EXPECT_NO_THROW(Model::load(directory / "model.safetensors"));
  EXPECT_THAT(said, HasSubstr("model.yaml is not used"));
  // Who names a file wants that one.
  EXPECT_THAT(loading_error(ErrorKind::kFormat, directory / "model.safetensors",
                            {.original_config = directory / "model.yaml"}),
              HasSubstr("model: params:"));
}

class Folder : public SingleFile {
 protected:
  fs::path unet(const std::string& ending) const {
    return folder() / ("unet/diffusion_pytorch_model" + ending);
  }
  std::string hash() const { return model_hash(Model::load(folder())); }
};

TEST_F(Folder, ShardsAreReadThroughTheirIndexAndMissingOnesAreNamed) {
  const auto whole = hash();
  auto tensors = io::load_safetensors(unet(".safetensors"));
  io::StateDict first, second;
  Json index;
  for (const auto& [key, tensor] : tensors) {
    const bool in_first = first.size() < tensors.size() / 2;
    (in_first ? first : second)[key] = tensor;
    index["weight_map"][key] = in_first ? "a.safetensors" : "b.safetensors";
  }
  io::save_safetensors(folder() / "unet/a.safetensors", first);
  io::save_safetensors(folder() / "unet/b.safetensors", second);
  write_text_file(unet(".safetensors.index.json"), index.dump());
  fs::remove(unet(".safetensors"));
  EXPECT_EQ(hash(), whole);
  fs::remove(folder() / "unet/b.safetensors");
  EXPECT_THAT(loading_error(ErrorKind::kIo, folder()), HasSubstr("1 of its 2 shards"));
  EXPECT_THAT(loading_error(ErrorKind::kIo, folder()), HasSubstr("b.safetensors"));
}

TEST_F(Folder, WeightsOfTorchSaveAreRead) {
  const auto whole = hash();
  io::save_torch_file(unet(".bin"), io::nest_tensors(io::load_safetensors(unet(".safetensors"))));
  fs::remove(unet(".safetensors"));
  EXPECT_EQ(hash(), whole);
}

TEST_F(Folder, OtherFamiliesAreRefusedByName) {
  auto index = read_json_file(folder() / "model_index.json");
  index["_class_name"] = "StableDiffusionXLPipeline";
  index["text_encoder_2"] = {"transformers", "CLIPTextModelWithProjection"};
  write_text_file(folder() / "model_index.json", index.dump());
  EXPECT_THAT(loading_error(ErrorKind::kMismatch, folder()),
              HasSubstr("StableDiffusionXLPipeline"));
}

TEST_F(Folder, AVariantIsReadWhereThereIsOneAndMissedWhereThereIsNone) {
  auto tensors = io::load_safetensors(unet(".safetensors"));
  for (auto& [key, tensor] : tensors) tensor = torch::zeros_like(tensor, torch::kFloat16);
  io::save_safetensors(unet(".fp16.safetensors"), tensors);
  const auto model = Model::load(folder(), {.read = {.variant = "fp16"}});
  EXPECT_EQ(io::state_dict_of(*model.unet).at("conv_in.weight").abs().max().item<float>(), 0.0F);
  EXPECT_GT(io::state_dict_of(*model.vae).at("quant_conv.weight").abs().max().item<float>(), 0.0F);
  EXPECT_THAT(loading_error(ErrorKind::kIo, folder(), {.variant = "ema"}), HasSubstr("ema"));
}

}  // namespace
}  // namespace mos::diffusion
