#include "mos/concepts/concept_file.h"

#include <gmock/gmock.h>

#include <cmath>

#include "mos/base/error.h"
#include "mos/base/file.h"
#include "mos/base/random.h"
#include "mos/concepts/concept_writer.h"
#include "mos/concepts/embedding_file.h"
#include "mos/concepts/lora_collector.h"
#include "mos/concepts/lora_file.h"
#include "mos/io/safetensors.h"
#include "mos/io/torch_writer.h"
#include "tests/support/temp_dir.h"

namespace {

using enum mos::checkpoint::Part;

namespace fs = std::filesystem;
using mos::ErrorKind;
using mos::concepts::ConceptDelta;
using mos::concepts::ConceptFormat;
using mos::concepts::ConceptWord;
using mos::concepts::LowRank;
using mos::io::StateDict;
using mos::io::TorchValue;
using testing::ElementsAre;
using testing::HasSubstr;

constexpr const char* kWrittenQuery = "mid_block.attentions.0.transformer_blocks.0.attn1.to_q";
constexpr const char* kWrittenConv = "mid_block.resnets.0.conv1";
constexpr const char* kTextLayer = "text_model.encoder.layers.0.mlp.fc1";

class ConceptFiles : public testing::Test {
 protected:
  torch::Tensor random(at::IntArrayRef shape, torch::ScalarType dtype = torch::kFloat32) {
    return mos::randn(shape, generator_).to(dtype);
  }

  /// LoRA on a linear layer, a 3x3 convolution and the text encoder; scales that are no powers
  /// of 2.
  ConceptDelta lora(torch::ScalarType dtype) {
    ConceptDelta delta;
    delta.updates[kUNet][kWrittenQuery] =
        LowRank{random({3, 8}, dtype), random({8, 3}, dtype), 1.0 / 3.0};
    delta.updates[kUNet][kWrittenConv] =
        LowRank{random({4, 8, 3, 3}, dtype), random({8, 4, 1, 1}, dtype), 0.7};
    delta.updates[kTextEncoder][kTextLayer] =
        LowRank{random({3, 6}, dtype), random({24, 3}, dtype), 1.0};
    return delta;
  }

  StateDict kohya() {
    return mos::concepts::lora_tensors(lora(torch::kFloat16), mos::concepts::LoraDialect::kKohya);
  }

  fs::path save(const StateDict& dict, const std::map<std::string, std::string>& metadata = {}) {
    const auto path = folder_ / "file.safetensors";
    mos::io::save_safetensors(path, dict, metadata);
    return path;
  }

  /// What loading `dict` is refused with.
  std::string refusal(const StateDict& dict) {
    try {
      mos::concepts::load_concept(save(dict));
    } catch (const mos::Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::kMismatch);
      return error.what();
    }
    return "was taken";
  }

  mos::TempDir folder_;
  at::Generator generator_ = mos::seeded_generator(1);
};

void expect_same_tensors(const StateDict& actual, const StateDict& expected) {
  ASSERT_EQ(actual.size(), expected.size());
  for (const auto& [key, tensor] : expected) {
    ASSERT_TRUE(actual.contains(key)) << key;
    EXPECT_EQ(actual.at(key).scalar_type(), tensor.scalar_type()) << key;
    EXPECT_TRUE(actual.at(key).equal(tensor)) << key;
  }
}

TEST_F(ConceptFiles, ThereAndBackGivesTheSameBytes) {
  for (const auto dtype : {torch::kFloat32, torch::kFloat16, torch::kBFloat16}) {
    const auto original = folder_ / "original.safetensors";
    write_concept(original, lora(dtype), ConceptFormat::kKohya);
    for (const auto between :
         {ConceptFormat::kMos, ConceptFormat::kPeft, ConceptFormat::kDiffusers}) {
      const auto there = folder_ / "there.safetensors", back = folder_ / "back.safetensors";
      write_concept(there, mos::concepts::load_concept(original), between);
      write_concept(back, mos::concepts::load_concept(there), ConceptFormat::kKohya);
      expect_same_tensors(mos::io::load_safetensors(back), mos::io::load_safetensors(original));
    }
  }
}

TEST_F(ConceptFiles, TheAuthorsFileHasTheScaleInItsFactors) {
  auto delta = lora(torch::kFloat32);
  delta.words = {{"<cat1>", random({16, 6})}, {"<cat2>", random({16, 6})}};
  const auto path = folder_ / "concept.pth";
  write_concept(path, delta, ConceptFormat::kOfficial);
  const auto value = mos::io::read_torch_file(path);
  const auto* params = value.find("params");
  ASSERT_NE(params, nullptr);
  ASSERT_NE(params->find("new_concept_embedding"), nullptr);
  const auto read = mos::concepts::load_concept(path);
  EXPECT_TRUE(read.words[1].rows.first().equal(delta.words[1].rows.first()));
  EXPECT_EQ(read.of(kUNet).at(kWrittenConv).low_rank().scale, 1.0);
  EXPECT_TRUE(torch::allclose(lora_update(read.of(kUNet).at(kWrittenConv).low_rank()),
                              lora_update(delta.of(kUNet).at(kWrittenConv).low_rank()), 1e-5,
                              1e-6));
}

TEST_F(ConceptFiles, ATuckerDecompositionIsTheConvolutionItStandsFor) {
  const auto down = random({2, 3, 1, 1}), mid = random({4, 2, 3, 3}), up = random({5, 4, 1, 1});
  const std::string name = "lora_unet_mid_block_resnets_0_conv1";
  const auto path = save({{name + ".lora_down.weight", down},
                          {name + ".lora_mid.weight", mid},
                          {name + ".lora_up.weight", up},
                          {name + ".alpha", torch::tensor(4.0F)}});
  const auto delta = mos::concepts::load_concept(path);
  const auto picture = random({1, 3, 6, 6});
  const auto expected = torch::conv2d(torch::conv2d(torch::conv2d(picture, down), mid), up);
  const auto update = lora_update(*delta.of(kUNet).at(kWrittenConv).as_pair());
  EXPECT_TRUE(torch::allclose(torch::conv2d(picture, update), expected, 1e-4, 1e-4));
}

TEST_F(ConceptFiles, KohyasScaleIsAlphaOverRank) {
  const std::string name = "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn1_to_q";
  StateDict dict = {{name + ".lora_down.weight", random({4, 8})},
                    {name + ".lora_up.weight", random({8, 4})}};
  EXPECT_EQ(mos::concepts::load_concept(save(dict)).of(kUNet).at(kWrittenQuery).low_rank().scale,
            1.0);
  dict[name + ".alpha"] = torch::tensor(std::int64_t{1});  // as sd-scripts' extraction writes it
  const auto pair = mos::concepts::load_concept(save(dict)).of(kUNet).at(kWrittenQuery).low_rank();
  EXPECT_EQ(pair.scale, 0.25);
  const auto expected =
      0.25 * dict.at(name + ".lora_up.weight").matmul(dict.at(name + ".lora_down.weight"));
  EXPECT_TRUE(torch::allclose(lora_update(pair), expected, 1e-5, 1e-6));
}

TEST_F(ConceptFiles, PeftsScaleIsReadFromItsConfiguration) {
  const std::string layer = std::string("base_model.model.") + kWrittenQuery;
  const auto path = save(
      {{layer + ".lora_A.weight", random({4, 8})}, {layer + ".lora_B.weight", random({8, 4})}});
  mos::write_text_file(folder_ / "adapter_config.json", R"({"r": 4, "lora_alpha": 16})");
  EXPECT_EQ(mos::concepts::load_concept(path).of(kUNet).at(kWrittenQuery).low_rank().scale, 4.0);
  mos::write_text_file(folder_ / "adapter_config.json",
                       R"({"lora_alpha": 16, "alpha_pattern": {"attn1.to_q": 8}})");
  EXPECT_EQ(mos::concepts::load_concept(path).of(kUNet).at(kWrittenQuery).low_rank().scale, 2.0);
  mos::write_text_file(folder_ / "adapter_config.json",
                       R"({"lora_alpha": 16, "use_rslora": true})");
  EXPECT_EQ(mos::concepts::load_concept(path).of(kUNet).at(kWrittenQuery).low_rank().scale, 8.0);
}

TEST_F(ConceptFiles, EmbeddingsOfEveryProgramAreWords) {
  const auto rows = random({2, 6});
  const auto expect_word = [&](const fs::path& path, const std::string& word) {
    const auto delta = mos::concepts::load_concept(path);
    ASSERT_EQ(delta.words.size(), 1U);
    EXPECT_EQ(delta.words[0].word, word);
    EXPECT_EQ(delta.words[0].vectors, 2);
    EXPECT_TRUE(delta.words[0].rows.first().equal(rows));
  };
  expect_word(save({{"emb_params", rows}}), "file");
  expect_word(save({{"<cat-toy>", rows}}), "<cat-toy>");
  expect_word(save({{"bundle_emb.toy.string_to_param.*", rows}}), "toy");
  using Dict = TorchValue::Dict;
  const auto a1111 = folder_ / "a.pt";
  mos::io::save_torch_file(a1111, {Dict{{"string_to_token", {Dict{{"*", {std::int64_t{265}}}}}},
                                        {"string_to_param", {Dict{{"*", {rows}}}}},
                                        {"name", {std::string("toy")}},
                                        {"step", {std::int64_t{5}}},
                                        {"sd_checkpoint", {}}}});
  expect_word(a1111, "a");  // as A1111 and ComfyUI call it
  EXPECT_EQ(mos::concepts::load_concept(a1111).words[0].alias, "toy");
  for (const auto& [format, name] : {std::pair(ConceptFormat::kA1111, "toy.pt"),
                                     std::pair(ConceptFormat::kA1111, "toy.safetensors"),
                                     std::pair(ConceptFormat::kTextualInversion, "b.bin"),
                                     std::pair(ConceptFormat::kKohya, "c.safetensors")}) {
    const ConceptDelta delta{.words = {ConceptWord{"toy", rows, 2}}};
    write_concept(folder_ / name, delta, format);
    expect_word(folder_ / name, "toy");
  }
}

TEST_F(ConceptFiles, AWordWithoutATextIsCalledAsItsFile) {
  const auto rows = random({2, 6});
  EXPECT_EQ(mos::concepts::load_concept(save({{"", rows}})).phrase(), "file");
  const auto nameless = save({{"emb_params", rows}}, {{"name", ""}});
  EXPECT_EQ(mos::concepts::load_concept(nameless).phrase(), "file");
}

TEST_F(ConceptFiles, WordsInTheMetadataMustBeAListOfTexts) {
  const auto rows = random({1, 6});
  for (const char* words : {R"({"<a>": 1})", "1", R"([["<a>"]])", "[1]", "{"}) {
    const auto path = save({{"new_concept_embedding/<a>", rows}}, {{"words", words}});
    try {
      mos::concepts::load_concept(path);
      ADD_FAILURE() << words;
    } catch (const mos::Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::kFormat) << words;
      EXPECT_THAT(error.what(), HasSubstr("metadata \"words\"")) << words;
    }
  }
}

TEST_F(ConceptFiles, WordsInTheMetadataOfAFileWithoutWordsAreSomebodyElses) {
  for (const char* words : {"cat, dog", "1", "[1]"}) {
    EXPECT_EQ(mos::concepts::load_concept(save(kohya(), {{"words", words}})).layer_count(), 3U);
  }
}

TEST_F(ConceptFiles, NanAndInfinityAreRefusedWithFileAndTensor) {
  const auto message = [&](const StateDict& dict) {
    try {
      mos::concepts::load_concept(save(dict));
    } catch (const mos::Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::kFormat);
      return std::string(error.what());
    }
    return std::string("was taken");
  };
  const auto with = [](torch::Tensor tensor, double value) {
    tensor.view({-1})[-1] = value;
    return tensor;
  };
  for (const double value : {NAN, INFINITY, -INFINITY}) {
    const auto word = message({{"new_concept_embedding/<a>", with(random({2, 6}), value)}});
    EXPECT_THAT(word, HasSubstr("file.safetensors"));
    EXPECT_THAT(word, HasSubstr("tensor <a>"));
    auto pair = kohya();
    for (auto& [key, tensor] : pair) {
      if (key.find("mid_block_resnets") != key.npos && key.ends_with("lora_up.weight")) {
        tensor = with(tensor.clone(), value);
      }
    }
    EXPECT_THAT(message(pair), HasSubstr(std::string(kWrittenConv) + " (up)"));
  }
}

TEST_F(ConceptFiles, MiddleKernelsThatMultiplyBeyondAnyModelAreRefused) {
  const std::string layer = "lora_unet_mid_block_resnets_0_conv1.";
  EXPECT_THAT(refusal({{layer + "lora_down.weight", random({1, 60'000, 1, 1})},
                       {layer + "lora_mid.weight", random({60'000, 1, 3, 3})},
                       {layer + "lora_up.weight", random({1, 60'000, 1, 1})}}),
              HasSubstr("multiply to more than"));
}

TEST_F(ConceptFiles, XtiHasRowsForEveryLayer) {
  const ConceptDelta delta{.words = {ConceptWord{"toy", random({32, 6}), 2}}};
  write_concept(folder_ / "x.safetensors", delta, ConceptFormat::kXti);
  const auto dict = mos::io::load_safetensors(folder_ / "x.safetensors");
  EXPECT_TRUE(dict.at("IN02").equal(delta.words[0].rows.first().slice(0, 2, 4)));
  EXPECT_TRUE(dict.at("MID").equal(delta.words[0].rows.first().slice(0, 12, 14)));
  const auto read = mos::concepts::load_concept(folder_ / "x.safetensors");
  EXPECT_EQ(read.words[0].vectors, 2);
  EXPECT_EQ(read.words[0].layers(), 16);
  EXPECT_TRUE(read.words[0].rows.first().equal(delta.words[0].rows.first()));
  auto incomplete = dict;
  incomplete.erase("MID");
  EXPECT_THAT(refusal(incomplete), HasSubstr("MID"));
}

TEST_F(ConceptFiles, WhatAFormatCannotHoldIsRefused) {
  const auto message = [&](const ConceptDelta& delta, ConceptFormat format, const char* name) {
    try {
      write_concept(folder_ / name, delta, format);
    } catch (const mos::Error& error) {
      EXPECT_FALSE(fs::exists(folder_ / name));
      return std::string(error.what());
    }
    return std::string("was written");
  };
  const ConceptDelta layerwise{.words = {ConceptWord{"toy", random({16, 6})}}};
  EXPECT_THAT(message(layerwise, ConceptFormat::kA1111, "a.pt"), HasSubstr("--mean-rows"));
  EXPECT_THAT(message(layerwise, ConceptFormat::kKohya, "a.safetensors"), HasSubstr("--mean-rows"));
  EXPECT_THAT(message(layerwise, ConceptFormat::kPeft, "a.safetensors"), HasSubstr("no words"));
  EXPECT_THAT(message(lora(torch::kFloat32), ConceptFormat::kA1111, "a.pt"), HasSubstr("no LoRA"));
  EXPECT_THAT(message(lora(torch::kFloat32), ConceptFormat::kPeft, "a.bin"), HasSubstr("metadata"));
  EXPECT_THAT(message(layerwise, ConceptFormat::kMos, "a.pth"), HasSubstr("official"));
  EXPECT_THAT(message(layerwise, ConceptFormat::kOfficial, "a.safetensors"), HasSubstr(".pth"));
  EXPECT_THAT(message(layerwise, ConceptFormat::kMos, "a.png"), HasSubstr("must end in"));
  const ConceptDelta slashed{.words = {ConceptWord{"<toy/cat>", random({16, 6})}}};
  EXPECT_THAT(message(slashed, ConceptFormat::kOfficial, "a.pth"), HasSubstr("slash"));
  EXPECT_EQ(message(slashed, ConceptFormat::kMos, "b.safetensors"), "was written") << "as it can";
}

TEST_F(ConceptFiles, EveryHalfPairIsNamed) {
  auto dict = kohya();
  dict.erase("lora_unet_mid_block_resnets_0_conv1.lora_up.weight");
  dict.erase("lora_te_text_model_encoder_layers_0_mlp_fc1.lora_down.weight");
  const auto message = refusal(dict);
  EXPECT_THAT(message, HasSubstr(std::string("the up factor of unet/") + kWrittenConv));
  EXPECT_THAT(message, HasSubstr(std::string("the down factor of text_encoder/") + kTextLayer));
}

TEST_F(ConceptFiles, AnAlphaThatIsNoNumberIsRefused) {
  auto dict = kohya();
  dict["lora_unet_mid_block_resnets_0_conv1.alpha"] = torch::ones({2});
  EXPECT_THAT(refusal(dict), HasSubstr("alpha must be one finite number"));
  dict["lora_unet_mid_block_resnets_0_conv1.alpha"] =
      torch::tensor(std::numeric_limits<float>::infinity());
  EXPECT_THAT(refusal(dict), HasSubstr("alpha must be one finite number"));
}

TEST_F(ConceptFiles, FactorsThatDoNotMultiplyAreRefused) {
  auto dict = kohya();
  dict["lora_unet_mid_block_resnets_0_conv1.lora_up.weight"] = random({8, 3, 1, 1});
  EXPECT_THAT(refusal(dict), HasSubstr("do not multiply"));
  dict["lora_unet_mid_block_resnets_0_conv1.lora_up.weight"] = random({8, 4, 3, 3});
  EXPECT_THAT(refusal(dict), HasSubstr("do not multiply"));
}

TEST_F(ConceptFiles, UnexpectedKeysAreNamedOrLeftOut) {
  auto dict = kohya();
  dict["apples"] = random({1});
  dict["lora_unet_mid_block_resnets_0_conv1.lora_sideways.weight"] = random({1});
  EXPECT_THAT(refusal(dict), testing::AllOf(HasSubstr("apples"), HasSubstr("lora_sideways"),
                                            HasSubstr("--allow-unexpected")));
  const auto file =
      mos::concepts::read_concept_file(save(dict), mos::concepts::UnexpectedKeys::kLeaveOut);
  EXPECT_EQ(file.keys.summary(), "9 keys matched, 0 missing, 2 unexpected");
  EXPECT_EQ(file.delta.of(kUNet).size(), 2U);
}

TEST_F(ConceptFiles, OneKeyIsNoneOfSeveral) {
  auto dict = kohya();
  dict["apples"] = random({1});
  EXPECT_THAT(refusal(dict), HasSubstr("1 key does not fit: apples"));
  dict = {{"emb_params", torch::ones({1, 8}, torch::kInt32)}};
  EXPECT_THAT(refusal(dict), HasSubstr("not Int [1, 8]"));
}

TEST_F(ConceptFiles, OfManyKeysThatMeanNothingAFewAreNamedAndTheRestCounted) {
  auto dict = kohya();
  for (int i = 100; i < 200; ++i) dict["key" + std::to_string(i)] = random({1});
  const auto message = refusal(dict);
  EXPECT_THAT(message, HasSubstr("100 keys do not fit: key100"));
  EXPECT_THAT(message, HasSubstr("key104 (not part of a concept) and 95 more"));
  EXPECT_THAT(message, testing::Not(HasSubstr("key105")));
}

TEST_F(ConceptFiles, ATensorOfAModelIsNoWord) {
  EXPECT_THAT(refusal({{"conv_in.weight", random({8, 4})}}), HasSubstr("conv_in.weight"));
  EXPECT_THAT(refusal({{"apples", random({2, 6})}, {"pears", random({2, 6})}}),
              testing::AllOf(HasSubstr("apples"), HasSubstr("pears")));
}

TEST_F(ConceptFiles, OtherNetworksAreRefusedByName) {
  auto dict = kohya();
  dict["lora_unet_mid_block_attentions_0_proj_in.oft_blocks"] = random({2, 2});
  EXPECT_THAT(refusal(dict), HasSubstr("OFT"));
  EXPECT_THAT(refusal({{"clip_g", random({2, 6})}, {"clip_l", random({2, 6})}}),
              HasSubstr("Stable Diffusion XL"));
  EXPECT_THAT(refusal({{"t5xxl", random({2, 4096})}}), HasSubstr("T5"));
}

TEST_F(ConceptFiles, AVectorWithoutAKeyIsCalledAsItsFile) {
  const auto path = folder_ / "bare.bin";
  mos::io::save_torch_file(path, {random({1, 6})});
  const auto delta = mos::concepts::load_concept(path);
  ASSERT_EQ(delta.words.size(), 1U);
  EXPECT_EQ(delta.words[0].word, "bare");
}

TEST_F(ConceptFiles, SeveralWordsOfOneEmbeddingFileKeepTheirNames) {
  using Dict = TorchValue::Dict;
  const auto path = folder_ / "two.pt";
  mos::io::save_torch_file(
      path,
      {Dict{{"string_to_param", {Dict{{"cat", {random({1, 6})}}, {"dog", {random({1, 6})}}}}}}});
  EXPECT_EQ(mos::concepts::load_concept(path).phrase(), "cat dog");
}

}  // namespace
