#include "mos/concepts/describe.h"

#include <fmt/core.h>
#include <gmock/gmock.h>

#include <ctime>

#include "mos/base/file.h"
#include "mos/base/log.h"
#include "mos/concepts/concept_file.h"
#include "mos/concepts/lora.h"
#include "mos/io/safetensors.h"
#include "tests/support/temp_dir.h"
#include "tests/support/tiny_model.h"

namespace mos::concepts {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;

constexpr const char* kLayer = "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn1_to_q";

class DescribeConcept : public testing::Test {
 protected:
  std::filesystem::path save(const io::StateDict& dict) {
    const auto path = folder_ / "file.safetensors";
    io::save_safetensors(path, dict, {});
    return path;
  }
  Json described(const io::StateDict& dict) {
    return *describe_concept(io::read_tensor_file(save(dict)));
  }

  TempDir folder_;
  std::string said_;
  log::ScopedSink sink_{[this](log::Level, std::string_view text) { said_ += text; }};
};

TEST_F(DescribeConcept, PartsOfALayerThatAreNotWholeAreNoNetwork) {
  const std::string layer = kLayer;
  const std::vector<io::StateDict> halves = {
      {{layer + ".alpha", torch::ones({})}},
      {{layer + ".lora_up.weight", torch::ones({8, 4})}},
      {{layer + ".hada_w1_a", torch::ones({8, 2})}, {layer + ".hada_w1_b", torch::ones({2, 8})}},
  };
  for (const auto& half : halves) {
    const auto report = described(half);
    EXPECT_EQ(report.at("network"), "none that is whole");
    EXPECT_THAT(report.at("problems").dump(), HasSubstr(layer));
  }
  EXPECT_EQ(described({{"emb_params", torch::ones({1, 8})}}).at("network"), "embedding");
}

TEST_F(DescribeConcept, WhatIsAssumedIsAProblemOfTheReportAndAWarningOfWhoUsesIt) {
  const std::string layer =
      "base_model.model.mid_block.attentions.0.transformer_blocks.0.attn1.to_q";
  const io::StateDict adapter = {{layer + ".lora_A.weight", torch::ones({4, 8})},
                                 {layer + ".lora_B.weight", torch::ones({8, 4})}};
  EXPECT_THAT(described(adapter).at("problems").dump(), HasSubstr("adapter_config.json"));
  EXPECT_THAT(said_, IsEmpty());
  load_concept(save(adapter));
  EXPECT_THAT(said_, HasSubstr("adapter_config.json"));
  write_text_file(folder_ / "adapter_config.json", R"({"lora_alpha": 4})");
  EXPECT_FALSE(described(adapter).contains("problems"));
}

/// Of this process, whatever else the machine does.
double cpu_seconds() { return static_cast<double>(std::clock()) / CLOCKS_PER_SEC; }

/// Files from outside may have a hundred thousand of anything. These take a second or two; a look
/// through all keys for each of them would take minutes.
constexpr double kMostSeconds = 10.0;

TEST(ManyKeys, OfLayersThatTheBaseLacksTakeNoQuadraticTime) {
  io::TensorFile file;
  file.path = "many.safetensors";
  const auto factor = torch::ones({1, 1});
  constexpr int kLayers = 50'000;
  for (int i = 0; i < kLayers; ++i) {
    const auto layer = fmt::format("unet/mid_block.attentions.{}.proj_in", i + 1);
    file.tensors[layer + ".lora_down.weight"] = factor;
    file.tensors[layer + ".lora_up.weight"] = factor;
  }
  auto sorted = sort_concept_keys(file);
  ASSERT_EQ(sorted.keys.matched.size(), 2U * kLayers);
  auto base = tiny::model();
  const auto start = cpu_seconds();
  leave_out_absent_layers(*base.unet, checkpoint::Part::kUNet,
                          sorted.delta.updates.at(checkpoint::Part::kUNet), sorted.keys);
  EXPECT_LT(cpu_seconds() - start, kMostSeconds);
  EXPECT_TRUE(sorted.keys.matched.empty());
  EXPECT_EQ(sorted.keys.unexpected.size(), 2U * kLayers);
}

TEST(ManyKeys, OfWordsWithAnOrderTakeNoQuadraticTime) {
  io::TensorFile file;
  file.path = "many.safetensors";
  const auto rows = torch::ones({1, 1});
  constexpr int kWords = 50'000;
  Json order = Json::array();
  for (int i = kWords; i-- > 0;) {
    const auto word = fmt::format("<{:05}>", i);
    file.tensors["new_concept_embedding/" + word] = rows;
    order.push_back(word);
  }
  file.metadata[kWordOrder] = order.dump();
  const auto start = cpu_seconds();
  const auto words = sort_concept_keys(file).delta.words;
  EXPECT_LT(cpu_seconds() - start, kMostSeconds);
  ASSERT_EQ(words.size(), 1U * kWords);
  EXPECT_EQ(words.front().word, order.front().get<std::string>());
  EXPECT_EQ(words.back().word, order.back().get<std::string>());
}

TEST(KeyReport, KeysOfLayersAreMovedTogetherInTheirOrder) {
  KeyReport keys;
  keys.matched = {{"a", "unet/1"}, {"b", "unet/2"}, {"c", "unet/1"}, {"d", "unet/3"}};
  keys.reject({"unet/1", "unet/4"});
  ASSERT_EQ(keys.unexpected.size(), 2U);
  EXPECT_EQ(keys.unexpected[0].key, "a");
  EXPECT_EQ(keys.unexpected[1].key, "c");
  keys.misfit({{"unet/3", "too wide"}});
  EXPECT_THAT(keys.wrong, testing::ElementsAre("d (too wide)"));
  EXPECT_EQ(keys.summary(), "1 key matched, 0 missing, 2 unexpected, 1 of a wrong shape");
}

}  // namespace
}  // namespace mos::concepts
