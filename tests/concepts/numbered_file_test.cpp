#include "mos/concepts/numbered_file.h"

#include <gmock/gmock.h>

#include "mos/base/error.h"
#include "mos/base/random.h"
#include "mos/concepts/concept_file.h"
#include "mos/concepts/concept_writer.h"
#include "mos/concepts/describe.h"
#include "mos/concepts/numbered_layers.h"
#include "mos/io/safetensors.h"
#include "mos/io/torch_writer.h"
#include "tests/support/temp_dir.h"

/// Files of cloneofsimo/lora.
namespace {

using enum mos::checkpoint::Part;

namespace fs = std::filesystem;
using mos::concepts::layers_of_classes;
using mos::io::StateDict;
using mos::io::TorchValue;
using testing::ElementsAre;
using testing::HasSubstr;
using torch::Tensor;

constexpr const char* kFirst = "down_blocks.0.attentions.0.transformer_blocks.0.";

class NumberedFiles : public testing::Test {
 protected:
  Tensor random(at::IntArrayRef shape) { return mos::randn(shape, generator_); }

  mos::TempDir folder_;
  at::Generator generator_ = mos::seeded_generator(8);
};

TEST(NumberedLayers, TheyCountTheLinearLayersOfTheirClasses) {
  const auto all =
      *layers_of_classes(mos::checkpoint::Part::kUNet, {"CrossAttention", "Attention", "GEGLU"});
  ASSERT_EQ(all.size(), 144U);  // 16 transformers with 4 + 1 + 4
  EXPECT_THAT(
      std::vector(all.begin(), all.begin() + 9),
      ElementsAre(std::string(kFirst) + "attn1.to_q", std::string(kFirst) + "attn1.to_k",
                  std::string(kFirst) + "attn1.to_v", std::string(kFirst) + "attn1.to_out.0",
                  std::string(kFirst) + "ff.net.0.proj", std::string(kFirst) + "attn2.to_q",
                  std::string(kFirst) + "attn2.to_k", std::string(kFirst) + "attn2.to_v",
                  std::string(kFirst) + "attn2.to_out.0"));
  EXPECT_EQ(all[54], "up_blocks.1.attentions.0.transformer_blocks.0.attn1.to_q");
  EXPECT_EQ(all[135], "mid_block.attentions.0.transformer_blocks.0.attn1.to_q");
  EXPECT_EQ(layers_of_classes(mos::checkpoint::Part::kUNet, {"CrossAttention"})->size(), 128U);
  EXPECT_FALSE(
      layers_of_classes(mos::checkpoint::Part::kUNet, {"CrossAttention", "ResnetBlock2D"}));
  const auto text = *layers_of_classes(mos::checkpoint::Part::kTextEncoder, {"CLIPAttention"});
  EXPECT_EQ(text[6], "text_model.encoder.layers.1.self_attn.q_proj");
}

TEST_F(NumberedFiles, PairsAndWordsOfOneFileAreRead) {
  const auto up = random({8, 2}), down = random({2, 8}), word = random({6});
  const auto path = folder_ / "file.safetensors";
  mos::io::save_safetensors(path,
                            {{"unet:4:up", up},
                             {"unet:4:down", down},
                             {"text_encoder:1:up", random({6, 2})},
                             {"text_encoder:1:down", random({2, 6})},
                             {"<s1>", word}},
                            {{"unet", R"(["CrossAttention", "GEGLU"])"},
                             {"text_encoder", R"(["CLIPAttention"])"},
                             {"unet:4:rank", "2"},
                             {"<s1>", "<embed>"},
                             {"author", "somebody"}});
  const auto delta = mos::concepts::load_concept(path);
  const auto& pair = delta.of(kUNet).at(std::string(kFirst) + "ff.net.0.proj").low_rank();
  EXPECT_TRUE(pair.up.equal(up) && pair.down.equal(down));
  EXPECT_EQ(pair.scale, 1.0);
  EXPECT_TRUE(delta.of(kTextEncoder).contains("text_model.encoder.layers.0.self_attn.v_proj"));
  ASSERT_EQ(delta.words.size(), 1U);
  EXPECT_EQ(delta.words[0].word, "<s1>");
  EXPECT_TRUE(delta.words[0].rows.first().equal(word.unsqueeze(0)));
  // What only this layout needs does not go into files of other ones.
  EXPECT_THAT(delta.metadata,
              ElementsAre(std::pair<const std::string, std::string>("author", "somebody")));
}

TEST_F(NumberedFiles, ModulesWithoutKnownNumbersAreNamed) {
  const auto path = folder_ / "file.safetensors";
  mos::io::save_safetensors(path, {{"unet:0:up", random({8, 2})}, {"unet:0:down", random({2, 8})}},
                            {{"unet", R"(["ResnetBlock2D"])"}});
  try {
    mos::concepts::load_concept(path);
    ADD_FAILURE() << "was taken";
  } catch (const mos::Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("unet:0:down (the layers of ResnetBlock2D are not known"));
  }
}

TEST_F(NumberedFiles, ListsOfOldAreReadWithTheFilesBesideThem) {
  const auto list = [&](std::size_t pairs, const std::function<std::int64_t(std::size_t)>& width) {
    TorchValue::List tensors;
    for (std::size_t i = 0; i < pairs; ++i) {
      tensors.emplace_back().value = random({width(i), 2});
      tensors.emplace_back().value = random({2, width(i)});
    }
    return TorchValue{std::move(tensors)};
  };
  const auto path = folder_ / "cat.pt";
  mos::io::save_torch_file(path, list(128, [](std::size_t i) { return i < 8 ? 8 : 16; }));
  EXPECT_EQ(mos::concepts::load_concept(path).of(kUNet).size(), 128U);
  mos::io::save_torch_file(folder_ / "cat.text_encoder.pt",
                           list(48, [](std::size_t) { return 6; }));
  mos::io::save_torch_file(folder_ / "cat.ti.pt",
                           {TorchValue::Dict{{"<s1>", {random({6})}}, {"<s2>", {random({6})}}}});
  const auto file = mos::concepts::read_concept_file(path);
  EXPECT_EQ(file.companions.size(), 2U);
  EXPECT_EQ(file.delta.of(kUNet).size(), 128U);
  EXPECT_EQ(file.delta.of(kTextEncoder).size(), 48U);
  EXPECT_EQ(file.delta.phrase(), "<s1> <s2>");
  EXPECT_EQ(file.keys.matched.size(), 354U);
  const auto described = mos::concepts::describe_concept(mos::io::read_tensor_file(path));
  EXPECT_EQ(described->at("read with it"), mos::Json({"cat.text_encoder.pt", "cat.ti.pt"}));
  // Each of them is a concept by itself, too.
  EXPECT_EQ(mos::concepts::load_concept(folder_ / "cat.text_encoder.pt").of(kTextEncoder).size(),
            48U);
  // With GEGLU there are more.
  mos::io::save_torch_file(folder_ / "dog.pt",
                           list(144, [](std::size_t i) { return i < 9 ? 8 : 16; }));
  EXPECT_TRUE(mos::concepts::load_concept(folder_ / "dog.pt")
                  .of(kUNet)
                  .contains(std::string(kFirst) + "ff.net.0.proj"));
}

}  // namespace
