#include "mos/io/state_dict.h"

#include <gmock/gmock.h>
#include <torch/nn/module.h>

#include <cmath>

#include "mos/io/finite.h"
#include "mos/io/names.h"
#include "tests/io/bytes.h"

namespace {

using mos::ErrorKind;
using mos::io::load_into;
using mos::io::StateDict;
using mos::io::test::error_of;
using testing::ElementsAre;
using testing::HasSubstr;

struct Attention : torch::nn::Module {
  Attention() {
    register_parameter("to_q", torch::zeros({2, 2}));
    register_buffer("position_ids", torch::zeros({1, 3}, torch::kInt64));
  }
};

struct Model : torch::nn::Module {
  Model() : torch::nn::Module("Model") {
    register_module("attention", std::make_shared<Attention>());
    register_parameter("bias", torch::zeros({3}, torch::kBFloat16));
    register_parameter("absent", torch::Tensor());
  }
};

StateDict fitting() {
  return {{"attention.to_q", torch::ones({2, 2})},
          {"attention.position_ids", torch::arange(3).view({1, 3})},
          {"bias", torch::full({3}, 0.5)}};
}

TEST(LoadInto, FillsParametersAndBuffersInTheirOwnDtype) {
  Model model;
  const auto report = load_into(model, fitting());
  EXPECT_EQ(report.loaded.size(), 3U);
  const auto dict = mos::io::state_dict_of(model);
  EXPECT_EQ(dict.size(), 3U);
  EXPECT_TRUE(dict.at("attention.to_q").equal(torch::ones({2, 2})));
  EXPECT_TRUE(dict.at("attention.position_ids").equal(torch::arange(3).view({1, 3})));
  EXPECT_EQ(dict.at("bias").scalar_type(), torch::kBFloat16);
  EXPECT_EQ(dict.at("bias")[0].item<float>(), 0.5F);
}

TEST(LoadInto, NanAndInfinityAreRefusedWithFileAndTensor) {
  for (const auto dtype : {torch::kFloat64, torch::kFloat32, torch::kFloat16, torch::kBFloat16}) {
    for (const double value : {NAN, -NAN, INFINITY, -INFINITY}) {
      auto dict = fitting();
      dict["attention.to_q"] = dict["attention.to_q"].to(dtype);
      dict["attention.to_q"][1][0] = value;
      Model model;
      const auto message = error_of(ErrorKind::kFormat, [&] {
        load_into(model, dict, {.origin = "unet/model.safetensors"});
      });
      EXPECT_THAT(message, HasSubstr("unet/model.safetensors: the tensor attention.to_q holds NaN"))
          << dtype << value;
    }
  }
}

TEST(Finite, CopiesAndSeesOneBadValueAnywhere) {
  const std::int64_t count = 300'001;  // several parts and a rest
  for (const auto dtype : {torch::kFloat64, torch::kFloat32, torch::kFloat16, torch::kBFloat16}) {
    auto values = torch::linspace(-65504, 65504, count).to(dtype);
    auto copy = torch::empty({count}, torch::kBFloat16);
    EXPECT_TRUE(mos::io::copy_finite(copy, values)) << dtype;
    EXPECT_TRUE(copy.equal(values.to(torch::kBFloat16))) << dtype;
    for (const std::int64_t place : {std::int64_t{0}, count / 2, count - 1}) {
      auto bad = values.clone();
      bad[place] = NAN;
      EXPECT_FALSE(mos::io::copy_finite(copy, bad)) << dtype << place;
      EXPECT_FALSE(mos::io::is_finite(bad)) << dtype << place;
    }
  }
}

TEST(Finite, TakesTensorsOfEveryKindAndLayout) {
  EXPECT_TRUE(mos::io::is_finite(torch::arange(3)));
  EXPECT_TRUE(mos::io::is_finite(torch::zeros({0})));
  auto matrix = torch::ones({3, 4});
  matrix[0][3] = INFINITY;
  EXPECT_FALSE(mos::io::is_finite(matrix.t()));
  EXPECT_TRUE(mos::io::is_finite(matrix.slice(1, 0, 3)));
  auto target = torch::zeros({3, 3});
  EXPECT_TRUE(mos::io::copy_finite(target, matrix.slice(1, 0, 3).t()));
  EXPECT_TRUE(target.equal(torch::ones({3, 3})));
  auto whole = torch::zeros({3}, torch::kInt64);
  EXPECT_TRUE(mos::io::copy_finite(whole, torch::arange(3)));
  EXPECT_TRUE(whole.equal(torch::arange(3)));
}

TEST(LoadInto, ListsEveryKeyThatDoesNotFitAndChangesNothing) {
  Model model;
  auto dict = fitting();
  dict.erase("bias");
  dict["attention.to_q"] = torch::ones({2, 3});
  dict["first"] = dict["second"] = torch::ones({1});
  const auto message =
      error_of(ErrorKind::kMismatch, [&] { load_into(model, dict, {.origin = "x.safetensors"}); });
  EXPECT_THAT(message, HasSubstr("x.safetensors"));
  EXPECT_THAT(message, HasSubstr("1 missing: bias"));
  EXPECT_THAT(message, HasSubstr("2 unexpected: first, second"));
  EXPECT_THAT(message, HasSubstr("attention.to_q ([2, 3] in the file, [2, 2] in the model)"));
  EXPECT_EQ(model.buffers()[0].sum().item<std::int64_t>(), 0) << "a fitting tensor was written";
}

TEST(LoadInto, AllowsOnlyWhatTheCallerNames) {
  Model model;
  auto dict = fitting();
  dict.erase("bias");
  dict["extra.weight"] = torch::ones({1});
  const auto report = load_into(model, dict,
                                {.allow_missing = mos::io::matches_any({"b*s"}),
                                 .allow_unexpected = mos::io::matches_any({"x*", "*.weight"}),
                                 .origin = ""});
  EXPECT_THAT(report.missing, ElementsAre("bias"));
  EXPECT_THAT(report.unexpected, ElementsAre("extra.weight"));
}

TEST(LoadInto, IgnoresConstantsThatOldFilesCarryOrNewFilesLack) {
  Model model;
  auto dict = fitting();
  dict.erase("attention.position_ids");  // does not end in embeddings.position_ids: required
  EXPECT_NE(error_of(ErrorKind::kMismatch, [&] { load_into(model, dict); }), "");
  dict = fitting();
  dict["text_model.embeddings.position_ids"] = torch::arange(77);
  EXPECT_THAT(load_into(model, dict).ignored, ElementsAre("text_model.embeddings.position_ids"));
}

struct VaeAttention : torch::nn::Module {
  VaeAttention() {
    for (const auto* name : {"to_q", "to_k", "to_v"}) add(name);
    auto out = std::make_shared<torch::nn::Module>();
    out->register_module("0", layer());
    register_module("to_out", out);
  }
  static std::shared_ptr<torch::nn::Module> layer() {
    auto result = std::make_shared<torch::nn::Module>();
    result->register_parameter("weight", torch::zeros({1}));
    return result;
  }
  void add(const char* name) { register_module(name, layer()); }
};

struct OldVae : torch::nn::Module {
  OldVae() {
    auto list = std::make_shared<torch::nn::Module>();
    list->register_module("0", std::make_shared<VaeAttention>());
    register_module("attentions", list);
  }
};

TEST(LoadInto, UnderstandsTheOldNamesOfTheVaeAttention) {
  OldVae model;
  load_into(model, {{"attentions.0.query.weight", torch::full({1}, 1.0)},
                    {"attentions.0.key.weight", torch::full({1}, 2.0)},
                    {"attentions.0.value.weight", torch::full({1}, 3.0)},
                    {"attentions.0.proj_attn.weight", torch::full({1}, 4.0)}});
  EXPECT_EQ(mos::io::state_dict_of(model).at("attentions.0.to_out.0.weight").item<float>(), 4.0F);
  EXPECT_EQ(mos::io::state_dict_of(model).at("attentions.0.to_k.weight").item<float>(), 2.0F);
}

TEST(LoadInto, RefusesTheSameTensorUnderItsOldAndNewName) {
  OldVae model;
  EXPECT_THAT(error_of(ErrorKind::kMismatch,
                       [&] {
                         load_into(model, {{"attentions.0.query.weight", torch::ones({1})},
                                           {"attentions.0.to_q.weight", torch::ones({1})},
                                           {"attentions.0.key.weight", torch::ones({1})},
                                           {"attentions.0.value.weight", torch::ones({1})},
                                           {"attentions.0.proj_attn.weight", torch::ones({1})}});
                       }),
              HasSubstr("1 unexpected"));
}

TEST(Names, KeysOfTodayStayAsTheyAre) {
  EXPECT_EQ(mos::io::canonical_key("down_blocks.0.attentions.1.proj_in.weight"),
            "down_blocks.0.attentions.1.proj_in.weight");
  EXPECT_EQ(mos::io::canonical_key("encoder.mid_block.attentions.0.query.bias"),
            "encoder.mid_block.attentions.0.to_q.bias");
  EXPECT_EQ(mos::io::canonical_key("blocks.0.key.weight"), "blocks.0.key.weight");
}

TEST(Names, PatternsMatchRunsOfAnything) {
  EXPECT_TRUE(mos::io::matches_pattern("", "*"));
  EXPECT_TRUE(mos::io::matches_pattern("a.b.c", "a*c"));
  EXPECT_TRUE(mos::io::matches_pattern("aXbXbc", "a*bc"));
  EXPECT_FALSE(mos::io::matches_pattern("abcd", "a*c"));
  EXPECT_FALSE(mos::io::matches_pattern("ab", "abc"));
}

}  // namespace
