#include "mos/concepts/describe.h"

#include <gmock/gmock.h>

#include "mos/base/file.h"
#include "mos/base/log.h"
#include "mos/concepts/concept_file.h"
#include "mos/io/safetensors.h"
#include "tests/support/temp_dir.h"

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

}  // namespace
}  // namespace mos::concepts
