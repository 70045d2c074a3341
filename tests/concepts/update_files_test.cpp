#include <gmock/gmock.h>

#include "mos/base/error.h"
#include "mos/base/file.h"
#include "mos/base/random.h"
#include "mos/concepts/concept_file.h"
#include "mos/concepts/concept_writer.h"
#include "mos/io/safetensors.h"
#include "tests/support/temp_dir.h"

/// Updates of layers in the files of LyCORIS and PEFT: what their keys and numbers mean.
namespace {

using enum mos::checkpoint::Part;

namespace fs = std::filesystem;
using mos::concepts::ConceptFormat;
using mos::concepts::LoraPart;
using mos::io::StateDict;
using testing::AllOf;
using testing::HasSubstr;
using torch::Tensor;

constexpr const char* kUpdateQuery = "mid_block.attentions.0.transformer_blocks.0.attn1.to_q";
const std::string kFlat = "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn1_to_q";
const std::string kFlatConv = "lora_unet_mid_block_resnets_0_conv1";
constexpr const char* kUpdateConv = "mid_block.resnets.0.conv1";

class UpdateFiles : public testing::Test {
 protected:
  Tensor random(at::IntArrayRef shape) { return mos::randn(shape, generator_); }

  fs::path save(const StateDict& dict, const std::map<std::string, std::string>& metadata = {}) {
    const auto path = folder_ / "file.safetensors";
    mos::io::save_safetensors(path, dict, metadata);
    return path;
  }

  mos::concepts::ConceptDelta load(const StateDict& dict) {
    return mos::concepts::load_concept(save(dict));
  }

  /// ΔW of the query layer, whose weight is a square of 8.
  Tensor difference(const StateDict& dict) {
    return load(dict).of(kUNet).at(kUpdateQuery).difference(weight_);
  }

  std::string refusal(const StateDict& dict, mos::concepts::UnexpectedKeys unexpected =
                                                 mos::concepts::UnexpectedKeys::kRefuse) {
    try {
      mos::concepts::read_concept_file(save(dict), unexpected);
    } catch (const mos::Error& error) {
      EXPECT_EQ(error.kind(), mos::ErrorKind::kMismatch);
      return error.what();
    }
    return "was taken";
  }

  StateDict loha() {
    return {{kFlat + ".hada_w1_a", random({8, 2})},
            {kFlat + ".hada_w1_b", random({2, 8})},
            {kFlat + ".hada_w2_a", random({8, 2})},
            {kFlat + ".hada_w2_b", random({2, 8})},
            {kFlat + ".alpha", torch::tensor(1.0F)}};
  }

  StateDict pair() {
    return {{kFlat + ".lora_down.weight", random({2, 8})},
            {kFlat + ".lora_up.weight", random({8, 2})}};
  }

  mos::TempDir folder_;
  at::Generator generator_ = mos::seeded_generator(7);
  Tensor weight_ = mos::randn({8, 8}, generator_);
};

void expect_close(const Tensor& actual, const Tensor& expected) {
  EXPECT_TRUE(torch::allclose(actual, expected, 1e-5, 1e-6));
}

TEST_F(UpdateFiles, LohasScaleIsAlphaOverRank) {
  const auto file = loha();
  const auto product = [&](const char* a, const char* b) {
    return file.at(kFlat + a).matmul(file.at(kFlat + b));
  };
  expect_close(difference(file),
               0.5 * product(".hada_w1_a", ".hada_w1_b") * product(".hada_w2_a", ".hada_w2_b"));
}

TEST_F(UpdateFiles, LokrsScaleIsAlphaOverRankUnlessBothMatricesAreWhole) {
  const auto w1 = random({2, 2}), w2 = random({4, 4}), a = random({4, 2}), b = random({2, 4});
  const auto alpha = torch::tensor(1.0F);
  expect_close(difference({{kFlat + ".lokr_w1", w1}, {kFlat + ".lokr_w2", w2}}),
               torch::kron(w1, w2));
  expect_close(difference({{kFlat + ".lokr_w1", w1},
                           {kFlat + ".lokr_w2", w2},
                           {kFlat + ".alpha", torch::tensor(1e10F)}}),
               torch::kron(w1, w2));
  expect_close(difference({{kFlat + ".lokr_w1", w1},
                           {kFlat + ".lokr_w2_a", a},
                           {kFlat + ".lokr_w2_b", b},
                           {kFlat + ".alpha", alpha}}),
               0.5 * torch::kron(w1, a.matmul(b)));
}

TEST_F(UpdateFiles, FullDifferencesHaveNoScaleAndMayChangeBiases) {
  const auto whole = random({8, 8}), bias = random({8});
  const auto delta = load({{kFlat + ".diff", whole}, {kFlat + ".diff_b", bias}});
  EXPECT_TRUE(delta.of(kUNet).at(kUpdateQuery).difference(weight_).equal(whole));
  EXPECT_TRUE(delta.of(kUNet).at(kUpdateQuery).bias_difference().equal(bias));
  const auto of_pair = pair();
  auto with_bias = of_pair;
  with_bias[kFlat + ".diff_b"] = bias;
  const auto update = load(with_bias).of(kUNet).at(kUpdateQuery);
  EXPECT_TRUE(update.difference(weight_).equal(difference(of_pair)));
  EXPECT_TRUE(update.bias_difference().equal(bias));
}

/// (W + V) · m / ‖W + V‖ − W with norms of outputs (dim 1 summed) or of inputs.
Tensor dora(const Tensor& weight, const Tensor& v, const Tensor& magnitude, int summed) {
  const auto tuned = (weight + v).to(torch::kFloat64);
  return (tuned * magnitude / tuned.norm(2, {summed}, true) - weight).to(torch::kFloat32);
}

TEST_F(UpdateFiles, DoraOfLycorisIsByInputsOrByOutputsAsItsShapeSays) {
  auto file = pair();
  const auto v = difference(file);
  file[kFlat + ".dora_scale"] = random({1, 8}).abs();
  expect_close(difference(file), dora(weight_, v, file.at(kFlat + ".dora_scale"), 0));
  file[kFlat + ".dora_scale"] = random({8, 1}).abs();
  expect_close(difference(file), dora(weight_, v, file.at(kFlat + ".dora_scale"), 1));
}

TEST_F(UpdateFiles, DoraOfPeftIsByOutputs) {
  const auto layer = std::string("unet.") + kUpdateQuery, conv = std::string("unet.") + kUpdateConv;
  const auto a = random({2, 8}), b = random({8, 2}), magnitude = random({8}).abs();
  for (const char* ending : {"", ".weight", ".default", ".default.weight"}) {
    expect_close(difference({{layer + ".lora_A.weight", a},
                             {layer + ".lora_B.weight", b},
                             {layer + ".lora_magnitude_vector" + ending, magnitude}}),
                 dora(weight_, b.matmul(a), magnitude.unsqueeze(1), 1));
  }
  // Of a convolution [1,O,1,1], also where there are as many input channels.
  const auto down = random({2, 8, 3, 3}), up = random({8, 2, 1, 1});
  const auto weight = random({8, 8, 3, 3});
  const auto read = load({{conv + ".lora_A.weight", down},
                          {conv + ".lora_B.weight", up},
                          {conv + ".lora_magnitude_vector", magnitude.view({1, 8, 1, 1})}});
  const auto v = up.flatten(1).matmul(down.flatten(1));
  expect_close(read.of(kUNet).at(kUpdateConv).difference(weight).flatten(1),
               dora(weight.flatten(1), v, magnitude.unsqueeze(1), 1));
}

TEST_F(UpdateFiles, EveryFormComesBackFromOurFormatAndKohyasWithTheSameBytes) {
  auto file = loha();
  const auto add = [&](const std::string& layer, const StateDict& parts) {
    for (const auto& [part, tensor] : parts) file["lora_unet_" + layer + part] = tensor;
  };
  const auto alpha = torch::tensor(2.0F);
  add("mid_block_resnets_0_conv1", {{".hada_w1_a", random({3, 8})},
                                    {".hada_w1_b", random({3, 4})},
                                    {".hada_t1", random({3, 3, 3, 3})},
                                    {".hada_w2_a", random({3, 8})},
                                    {".hada_w2_b", random({3, 4})},
                                    {".hada_t2", random({3, 3, 3, 3})},
                                    {".alpha", alpha}});
  add("mid_block_resnets_0_conv2", {{".lokr_w1", random({2, 2})},
                                    {".lokr_w2_a", random({3, 4})},
                                    {".lokr_w2_b", random({3, 2})},
                                    {".lokr_t2", random({3, 3, 3, 3})},
                                    {".alpha", alpha}});
  add("mid_block_resnets_1_conv1", {{".lora_down.weight", random({3, 4, 1, 1})},
                                    {".lora_mid.weight", random({3, 3, 3, 3})},
                                    {".lora_up.weight", random({8, 3, 1, 1})},
                                    {".dora_scale", random({8, 1, 1, 1})},
                                    {".alpha", alpha}});
  add("mid_block_resnets_1_conv2", {{".diff", random({8, 4, 3, 3})}, {".diff_b", random({8})}});
  add("mid_block_attentions_0_proj_in",
      {{".lokr_w1", random({2, 2})}, {".lokr_w2", random({4, 4})}});
  add("mid_block_attentions_0_proj_out", {{".lora_down.weight", random({2, 8}).to(torch::kHalf)},
                                          {".lora_up.weight", random({8, 2}).to(torch::kHalf)},
                                          {".dora_scale", random({1, 8}).to(torch::kHalf)},
                                          {".alpha", torch::tensor(1.0F).to(torch::kHalf)}});
  const auto ours = folder_ / "ours.safetensors", again = folder_ / "again.safetensors";
  write_concept(ours, load(file), ConceptFormat::kMos);
  write_concept(again, mos::concepts::load_concept(ours), ConceptFormat::kKohya);
  const auto read = mos::io::load_safetensors(again);
  ASSERT_EQ(read.size(), file.size());
  for (const auto& [key, tensor] : file) {
    ASSERT_TRUE(read.contains(key)) << key;
    EXPECT_EQ(read.at(key).scalar_type(), tensor.scalar_type()) << key;
    EXPECT_TRUE(read.at(key).equal(tensor)) << key;
  }
}

TEST_F(UpdateFiles, DoraOfPeftComesBackFromKohyas) {
  const auto layer = std::string("unet.") + kUpdateQuery, conv = std::string("unet.") + kUpdateConv;
  const StateDict file = {{layer + ".lora_A.weight", random({2, 8})},
                          {layer + ".lora_B.weight", random({8, 2})},
                          {layer + ".lora_magnitude_vector", random({8})},
                          {conv + ".lora_A.weight", random({2, 4, 3, 3})},
                          {conv + ".lora_B.weight", random({8, 2, 1, 1})},
                          {conv + ".lora_magnitude_vector", random({1, 8, 1, 1})}};
  const auto kohya = folder_ / "kohya.safetensors", peft = folder_ / "peft.safetensors";
  write_concept(kohya, load(file), ConceptFormat::kKohya);
  const auto written = mos::io::load_safetensors(kohya);
  EXPECT_EQ(written.at(kFlat + ".dora_scale").sizes(), (std::vector<std::int64_t>{8, 1}));
  EXPECT_EQ(written.at(kFlatConv + ".dora_scale").sizes(), (std::vector<std::int64_t>{8, 1, 1, 1}));
  write_concept(peft, mos::concepts::load_concept(kohya), ConceptFormat::kPeft);
  const auto read = mos::io::load_safetensors(peft);
  ASSERT_EQ(read.size(), file.size());
  for (const auto& [key, tensor] : file) EXPECT_TRUE(read.at(key).equal(tensor)) << key;
  EXPECT_THAT(mos::io::SafetensorsFile(peft).metadata().at("lora_adapter_metadata"),
              HasSubstr(R"("unet.use_dora":true)"));
}

TEST_F(UpdateFiles, WhatIsMissingIsNamed) {
  auto file = loha();
  file.erase(kFlat + ".hada_w2_b");
  EXPECT_THAT(refusal(file), HasSubstr(std::string("hada_w2_b of unet/") + kUpdateQuery));
  EXPECT_THAT(refusal({{kFlat + ".lokr_w2_a", random({4, 2})}}),
              AllOf(HasSubstr("lokr_w1 of"), HasSubstr("lokr_w2_b of")));
  EXPECT_THAT(refusal({{kFlat + ".dora_scale", random({1, 8})}}), HasSubstr("diff of"));
}

TEST_F(UpdateFiles, FactorsThatDoNotGoTogetherAreRefused) {
  auto file = loha();
  file[kFlat + ".hada_w2_b"] = random({2, 7});
  EXPECT_THAT(refusal(file), AllOf(HasSubstr("do not multiply"), HasSubstr("hada_w2_b [2, 7]")));
  auto mixed = loha();
  mixed.merge(pair());
  EXPECT_THAT(refusal(mixed), HasSubstr("two forms of an update"));
  auto whole_numbers = pair();
  auto& down = whole_numbers.at(kFlat + ".lora_down.weight");
  down = down.to(torch::kInt32);
  EXPECT_THAT(refusal(whole_numbers),
              HasSubstr("(the down factor must be floating-point numbers, not Int [2, 8])"));
}

TEST_F(UpdateFiles, AnAlphaAloneIsNamedOrLeftOut) {
  auto file = pair();
  file["lora_te_text_model_encoder_layers_0_mlp_fc1.alpha"] = torch::tensor(1.0F);
  EXPECT_THAT(refusal(file), AllOf(HasSubstr("mlp_fc1.alpha (an alpha without factors"),
                                   HasSubstr("--allow-unexpected")));
  EXPECT_EQ(refusal(file, mos::concepts::UnexpectedKeys::kLeaveOut), "was taken");
}

TEST_F(UpdateFiles, AllowUnexpectedAlsoLeavesOutWhatIsOfOtherNetworks) {
  auto file = pair();
  file["lora_unet_mid_block_attentions_0_norm.w_norm"] = random({8});
  EXPECT_THAT(refusal(file), AllOf(HasSubstr("normalisation"), HasSubstr("--allow-unexpected")));
  EXPECT_EQ(refusal(file, mos::concepts::UnexpectedKeys::kLeaveOut), "was taken");
  // Nothing is left of this one.
  const StateDict other = {{"lora_te2_text_model_encoder_layers_0_mlp_fc1.alpha", torch::ones({})}};
  EXPECT_THAT(refusal(other, mos::concepts::UnexpectedKeys::kLeaveOut),
              HasSubstr("Stable Diffusion XL"));
}

TEST_F(UpdateFiles, DifferencesOfNormalisationLayersAreRefusedByNameOrLeftOut) {
  // As ComfyUI's LoraSave extracts a LoRA from two models.
  for (const char* norm :
       {"diffusion_model.input_blocks.1.0.in_layers.0", "diffusion_model.out.0",
        "unet.mid_block.attentions.0.norm",
        "text_encoders.clip_l.transformer.text_model.encoder.layers.0.layer_norm1"}) {
    auto file = pair();
    file[kFlat + ".diff_b"] = random({8});
    file[std::string(norm) + ".diff"] = random({8});
    file[std::string(norm) + ".diff_b"] = random({8});
    EXPECT_THAT(refusal(file), AllOf(HasSubstr("trained normalisation layers (2 of its keys"),
                                     HasSubstr(norm), HasSubstr("--allow-unexpected")));
    EXPECT_EQ(refusal(file, mos::concepts::UnexpectedKeys::kLeaveOut), "was taken");
    const auto read =
        mos::concepts::read_concept_file(save(file), mos::concepts::UnexpectedKeys::kLeaveOut);
    EXPECT_EQ(read.delta.of(kUNet).size(), 1U);
    EXPECT_TRUE(read.delta.of(kUNet).at(kUpdateQuery).bias_difference().defined());
  }
}

TEST_F(UpdateFiles, AdaptersOfPeftMayHaveANameButAFileHoldsOne) {
  const auto layer = std::string("base_model.model.") + kUpdateQuery;
  StateDict file = {{layer + ".lora_A.cat.weight", random({2, 8})},
                    {layer + ".lora_B.cat.weight", random({8, 2})}};
  EXPECT_EQ(load(file).of(kUNet).at(kUpdateQuery).rank(), 2);
  auto both = file;
  both[layer + ".lora_A.dog.weight"] = random({2, 8});
  both[layer + ".lora_B.dog.weight"] = random({8, 2});
  EXPECT_THAT(refusal(both), HasSubstr("the adapters cat, dog"));
}

TEST_F(UpdateFiles, ARankThatPeftsConfigurationDeniesIsRefused) {
  const auto layer = std::string("base_model.model.") + kUpdateQuery;
  const StateDict file = {{layer + ".lora_A.weight", random({2, 8})},
                          {layer + ".lora_B.weight", random({8, 2})}};
  mos::write_text_file(folder_ / "adapter_config.json", R"({"r": 4, "lora_alpha": 8})");
  EXPECT_THAT(refusal(file), HasSubstr("is of rank 2, PEFT's configuration says 4"));
}

TEST_F(UpdateFiles, AFormThatPeftsConfigurationDeniesIsRefused) {
  const auto layer = std::string("base_model.model.") + kUpdateQuery;
  StateDict file = {{layer + ".lora_A.weight", random({2, 8})},
                    {layer + ".lora_B.weight", random({8, 2})}};
  const auto config = folder_ / "adapter_config.json";
  mos::write_text_file(config, R"({"peft_type": "LOHA", "r": 2, "alpha": 8})");
  EXPECT_THAT(refusal(file), HasSubstr("peft_type"));
  mos::write_text_file(config, R"({"peft_type": "LORA", "r": 2, "use_dora": true})");
  EXPECT_THAT(refusal(file), HasSubstr("lora_magnitude_vector of unet"));
  file[layer + ".lora_magnitude_vector"] = random({8}).abs();
  EXPECT_EQ(load(file).of(kUNet).at(kUpdateQuery).rank(), 2);
}

TEST_F(UpdateFiles, TheOriginalNumberingIsReadForTheseFamilies) {
  const auto same = [&](const std::string& key, const std::string& layer) {
    const auto delta = load(
        {{key + ".lora_down.weight", random({2, 8})}, {key + ".lora_up.weight", random({8, 2})}});
    const auto& updates = delta.of(kUNet).empty() ? delta.of(kTextEncoder) : delta.of(kUNet);
    EXPECT_EQ(updates.begin()->first, layer) << key;
  };
  same("lora_unet_input_blocks_1_1_transformer_blocks_0_attn1_to_q",
       "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q");
  same("lora_unet_output_blocks_11_1_transformer_blocks_0_ff_net_0_proj",
       "up_blocks.3.attentions.2.transformer_blocks.0.ff.net.0.proj");
  same("lora_unet_middle_block_1_proj_in", "mid_block.attentions.0.proj_in");
  same("lora_unet_input_blocks_4_0_emb_layers_1", "down_blocks.1.resnets.0.time_emb_proj");
  same("lora_unet_time_embed_0", "time_embedding.linear_1");
  same("diffusion_model.output_blocks.3.1.transformer_blocks.0.attn2.to_out.0",
       "up_blocks.1.attentions.0.transformer_blocks.0.attn2.to_out.0");
  same("diffusion_model.input_blocks.3.0.op", "down_blocks.0.downsamplers.0.conv");
  same("text_encoders.clip_l.transformer.text_model.encoder.layers.3.mlp.fc2",
       "text_model.encoder.layers.3.mlp.fc2");
  same("lycoris_mid_block_attentions_0_proj_in", "mid_block.attentions.0.proj_in");
}

TEST_F(UpdateFiles, TheNumbersOfOtherFamiliesAreNotTheseFamilies) {
  for (const char* key : {"lora_unet_input_blocks_4_1_transformer_blocks_1_attn1_to_q",
                          "lora_unet_output_blocks_0_1_transformer_blocks_0_attn1_to_q",
                          "diffusion_model.output_blocks.1.1.proj_in"}) {
    EXPECT_THAT(refusal({{std::string(key) + ".lora_down.weight", random({2, 8})}}),
                HasSubstr("Stable Diffusion XL"))
        << key;
  }
  EXPECT_THAT(
      refusal({{"diffusion_model.double_blocks.0.img_attn.proj.lora_A.weight", random({2, 8})}}),
      HasSubstr("FLUX"));
}

TEST_F(UpdateFiles, ALayerThatKohyasNamesCannotHoldIsNotWritten) {
  const auto delta = load({{"unet.mid_block.own_name.lora_A.weight", random({2, 8})},
                           {"unet.mid_block.own_name.lora_B.weight", random({8, 2})}});
  EXPECT_THROW(write_concept(folder_ / "k.safetensors", delta, ConceptFormat::kKohya), mos::Error);
  EXPECT_FALSE(fs::exists(folder_ / "k.safetensors"));
}

TEST_F(UpdateFiles, ALongListOfKeysIsShortened) {
  StateDict file;
  for (int i = 0; i < 400; ++i) file["apple" + std::to_string(i)] = random({1});
  EXPECT_THAT(refusal(file), AllOf(HasSubstr("400 keys do not fit"), HasSubstr("and 395 more"),
                                   testing::Not(HasSubstr("apple399"))));
}

TEST_F(UpdateFiles, AModelIsNamedForWhatItIs) {
  const auto message = refusal({{"conv_in.weight", random({8, 4, 3, 3})},
                                {"time_embedding.linear_1.weight", random({8, 8})},
                                {"mid_block.attentions.0.proj_in.weight", random({8, 8, 1, 1})}});
  EXPECT_THAT(message, AllOf(HasSubstr("a U-Net (Stable Diffusion 1.x)"), HasSubstr("--base")));
  EXPECT_THAT(refusal({{"adapter.body.0.resnets.0.block1.weight", random({8, 8, 3, 3})}}),
              HasSubstr("--adapter"));
}

}  // namespace
