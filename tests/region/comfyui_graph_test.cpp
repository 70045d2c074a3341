#include <fmt/core.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "mos/base/error.h"
#include "mos/diffusion/scheduler_names.h"
#include "mos/region/foreign_record.h"

namespace mos::region {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr const char* kGraph = R"({
  "3": {"class_type": "KSampler", "inputs": {"seed": 5, "steps": 20, "cfg": 8.0,
        "sampler_name": "dpmpp_2m", "scheduler": "karras", "denoise": 1.0, "model": ["10", 0],
        "positive": ["6", 0], "negative": ["7", 0], "latent_image": ["5", 0]}},
  "4": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "v1-5.safetensors"}},
  "5": {"class_type": "EmptyLatentImage", "inputs": {"width": 640, "height": 448, "batch_size": 1}},
  "6": {"class_type": "CLIPTextEncode", "inputs": {"text": "a cat", "clip": ["10", 1]}},
  "7": {"class_type": "CLIPTextEncode", "inputs": {"text": "bad", "clip": ["10", 1]}},
  "8": {"class_type": "VAEDecode", "inputs": {}},
  "9": {"class_type": "SaveImage", "inputs": {}},
  "10": {"class_type": "LoraLoader", "inputs": {"lora_name": "x.safetensors",
         "strength_model": 0.5, "strength_clip": 0.5, "model": ["4", 0], "clip": ["4", 1]}},
  "11": {"class_type": "FreeU", "inputs": {}}})";

TEST(Graphs, OfComfyUiWithOneSamplerAreRead) {
  const auto record = read_comfyui_graph(kGraph, "x.png");
  EXPECT_EQ(record.prompt, "a cat");
  EXPECT_THAT(record.loras, ElementsAre(text::LoraTag{"x.safetensors", 0.5}));
  EXPECT_EQ(record.negative_prompt, "bad");
  EXPECT_EQ(record.model, "v1-5.safetensors");
  EXPECT_EQ(record.options.scheduler, "dpm++");
  EXPECT_EQ(record.options.sampler.sigmas, "karras");
  EXPECT_EQ(record.options.seed, 5U);
  EXPECT_EQ(record.options.width, 640);
  EXPECT_THAT(record.left_out, ElementsAre(HasSubstr("FreeU")));
}

TEST(Graphs, TheFirstFormOfUniPcStaysThat) {
  const auto scheduler = [](const char* name) {
    const auto graph = fmt::format(
        R"({{"1": {{"class_type": "KSampler", "inputs": {{"sampler_name": "{}"}}}}}})", name);
    return read_comfyui_graph(graph, "x").options.scheduler;
  };
  EXPECT_TRUE(diffusion::find_scheduler(scheduler("uni_pc"))->bh1);
  EXPECT_FALSE(diffusion::find_scheduler(scheduler("uni_pc_bh2"))->bh1);
}

constexpr const char* kAreas = R"({
  "3": {"class_type": "KSamplerAdvanced", "inputs": {"noise_seed": 5, "steps": ["40", 0], "cfg": 8.0,
        "sampler_name": "euler_ancestral", "scheduler": "karras", "model": ["4", 0],
        "positive": ["20", 0], "negative": ["7", 0], "latent_image": ["5", 0]}},
  "4": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "v1-5.safetensors"}},
  "5": {"class_type": "EmptyLatentImage", "inputs": {"width": 640, "height": 320}},
  "6": {"class_type": "CLIPTextEncode", "inputs": {"text": "sea", "clip": ["9", 0]}},
  "7": {"class_type": "CLIPTextEncode", "inputs": {"text": "bad", "clip": ["9", 0]}},
  "8": {"class_type": "CLIPTextEncode", "inputs": {"text": "a dog", "clip": ["9", 0]}},
  "9": {"class_type": "CLIPSetLastLayer", "inputs": {"stop_at_clip_layer": -2, "clip": ["4", 1]}},
  "10": {"class_type": "ConditioningSetArea", "inputs": {"conditioning": ["8", 0], "x": 320, "y": 0,
         "width": 320, "height": 320, "strength": 0.5}},
  "20": {"class_type": "ConditioningCombine", "inputs": {"conditioning_1": ["6", 0],
         "conditioning_2": ["10", 0]}}})";

TEST(Graphs, AreasBecomeRegionsAndWhatNodesMakeIsNamed) {
  const auto record = read_comfyui_graph(kAreas, "x.png");
  EXPECT_EQ(record.prompt, "sea");
  EXPECT_EQ(record.options.seed, 5U);
  EXPECT_EQ(record.options.scheduler, "euler_a");
  EXPECT_EQ(record.options.sampler.clip_skip, 2);
  const auto& regions = record.scene.at("regions");
  ASSERT_EQ(regions.size(), 1U);
  EXPECT_EQ(regions[0].at("prompt"), "a dog");
  EXPECT_EQ(regions[0].at("box"), Json({0.0, 0.5, 1.0, 1.0}));
  EXPECT_EQ(regions[0].at("weight"), 0.5);
  EXPECT_EQ(record.scene.at("root_negative_prompt"), "bad");
  EXPECT_THAT(record.left_out, ElementsAre(HasSubstr("\"steps\" of KSamplerAdvanced")));
}

ForeignRecord read_texts(const std::string& positive, const std::string& negative) {
  return read_comfyui_graph(
      fmt::format(R"({{"1": {{"class_type": "KSampler", "inputs": {{"positive": ["2", 0],
                   "negative": ["3", 0], "latent_image": ["4", 0]}}}},
                   "2": {{"class_type": "CLIPTextEncode", "inputs": {{"text": {}}}}},
                   "3": {{"class_type": "CLIPTextEncode", "inputs": {{"text": {}}}}},
                   "4": {{"class_type": "EmptyLatentImage", "inputs": {{}}}}}})",
                  Json(positive).dump(), Json(negative).dump()),
      "x");
}

TEST(Graphs, HavePromptsOfComfyUiAndNotOfOurs) {
  const auto record = read_texts("[a|b] {c|d} e++ BREAK <lora:x:1> \\(f\\)", "((a:1.2) b:1.5)");
  EXPECT_EQ(record.prompt, "\\[a|b\\] \\{c|d} e\\+\\+ break \\<lora:x:1> \\(f\\)");
  EXPECT_EQ(record.negative_prompt, "(a:1.2)( b:1.5)");
  EXPECT_THAT(record.left_out, ElementsAre(HasSubstr("how weights move words there")));
}

TEST(Graphs, EmbeddingsAreNamedAndCalledAsHere) {
  const auto record = read_texts("a cat", "bad, embedding:sub\\easynegative.pt, embedding:hands");
  EXPECT_EQ(record.negative_prompt, "bad, easynegative, hands");
  EXPECT_THAT(record.left_out, ElementsAre(HasSubstr("the embedding easynegative: "),
                                           HasSubstr("the embedding hands: ")));
}

TEST(Graphs, TextsThatAreCombinedAreSaidToBeOneHere) {
  const auto record = read_comfyui_graph(
      R"({"1": {"class_type": "KSampler", "inputs": {"positive": ["2", 0], "negative": ["5", 0],
          "latent_image": ["6", 0]}},
          "2": {"class_type": "ConditioningCombine", "inputs": {"conditioning_1": ["3", 0],
          "conditioning_2": ["4", 0]}},
          "3": {"class_type": "CLIPTextEncode", "inputs": {"text": "a cat"}},
          "4": {"class_type": "CLIPTextEncode", "inputs": {"text": "a dog"}},
          "5": {"class_type": "CLIPTextEncode", "inputs": {"text": ""}},
          "6": {"class_type": "EmptyLatentImage", "inputs": {}}})",
      "x");
  EXPECT_EQ(record.prompt, "a cat, a dog");
  EXPECT_THAT(record.left_out, ElementsAre(HasSubstr("positive conditioning has 2 texts")));
}

TEST(Graphs, ALoraThatStandsTwiceInTheChainAddsUp) {
  const auto record = read_comfyui_graph(
      R"({"1": {"class_type": "KSampler", "inputs": {"model": ["2", 0]}},
          "2": {"class_type": "LoraLoader", "inputs": {"lora_name": "x", "strength_model": 0.5,
          "model": ["3", 0]}},
          "3": {"class_type": "LoraLoader", "inputs": {"lora_name": "x", "strength_model": 0.25}}})",
      "x");
  EXPECT_THAT(record.loras, ElementsAre(text::LoraTag{"x", 0.75}));
}

TEST(Graphs, ThatGoInCirclesComeToAnEnd) {
  const auto record = read_comfyui_graph(
      R"({"1": {"class_type": "KSampler", "inputs": {"positive": ["2", 0], "negative": ["3", 0],
          "model": ["4", 0]}},
          "2": {"class_type": "ConditioningConcat", "inputs": {"conditioning_to": ["2", 0],
          "conditioning_from": ["2", 0]}},
          "3": {"class_type": "ConditioningCombine", "inputs": {"conditioning_1": ["3", 0],
          "conditioning_2": ["3", 0]}},
          "4": {"class_type": "LoraLoader", "inputs": {"model": ["4", 0]}}})",
      "x");
  EXPECT_THAT(record.left_out,
              testing::IsSupersetOf(
                  {"of the positive conditioning: ConditioningConcat",
                   "the positive text, which could not be followed: there is none here",
                   "of the negative conditioning: ConditioningCombine, which was met before",
                   "the negative text, which could not be followed: there is none here"}));
}

TEST(Graphs, WhoseTextCannotBeFollowedSayIt) {
  const auto sentences = [](const std::string& nodes) {
    const auto record = read_comfyui_graph(
        R"({"1": {"class_type": "KSampler", "inputs": {"positive": ["2", 0], "negative": ["7", 0]}},
            "7": {"class_type": "CLIPTextEncode", "inputs": {"text": ""}}, )" +
            nodes + "}",
        "x");
    EXPECT_EQ(record.prompt, "");
    std::vector<std::string> about;
    for (const auto& what : record.left_out) {
      if (what.find("could not be followed") != what.npos) about.push_back(what);
    }
    return about;
  };
  for (const char* nodes :
       {R"("2": {"class_type": "CLIPTextEncode", "inputs": {"text": ["3", 0]}})",
        R"("2": {"class_type": "CLIPTextEncode", "inputs": {}})",
        R"("2": {"class_type": "ConditioningZeroOut", "inputs": {"conditioning": ["7", 0]}})",
        R"("2": {"class_type": "ConditioningSetArea", "inputs": {"conditioning": ["2", 0]}})",
        R"("2": {"class_type": "ConditioningCombine", "inputs": {"conditioning_1": ["4", 0]}},
           "4": {"class_type": "ConditioningCombine", "inputs": {"conditioning_2": ["2", 0]}})",
        R"("3": {"class_type": "CLIPTextEncode", "inputs": {"text": "a cat"}})"}) {
    EXPECT_THAT(sentences(nodes),
                ElementsAre("the positive text, which could not be followed: there is none here"))
        << nodes;
  }
  EXPECT_THAT(sentences(R"("2": {"class_type": "CLIPTextEncode", "inputs": {"text": ""}})"),
              IsEmpty());
}

TEST(Graphs, TextsInACircleAreReadOnceAndThoseThatTwoShareByBoth) {
  const auto circle = read_comfyui_graph(
      R"({"1": {"class_type": "KSampler", "inputs": {"positive": ["2", 0], "negative": ["3", 0]}},
          "2": {"class_type": "ConditioningCombine", "inputs": {"conditioning_1": ["3", 0],
          "conditioning_2": ["2", 0]}},
          "3": {"class_type": "ConditioningConcat", "inputs": {"conditioning_to": ["4", 0],
          "conditioning_from": ["4", 0]}},
          "4": {"class_type": "CLIPTextEncode", "inputs": {"text": "a cat"}}})",
      "x");
  EXPECT_EQ(circle.prompt, "a cat BREAK a cat");
  EXPECT_EQ(circle.negative_prompt, "a cat BREAK a cat");
  EXPECT_THAT(circle.left_out, testing::Contains(HasSubstr("ConditioningCombine, which was met")));
}

TEST(Graphs, InputsThatHaveNoPlaceHereAreNamed) {
  const auto record = read_comfyui_graph(
      R"({"3": {"class_type": "KSamplerAdvanced", "inputs": {"add_noise": "disable",
          "return_with_leftover_noise": "disable", "model": ["10", 0], "positive": ["20", 0],
          "negative": ["7", 0], "latent_image": ["5", 0]}},
          "5": {"class_type": "EmptyLatentImage", "inputs": {"width": 64, "height": 64,
          "batch_size": 4}},
          "7": {"class_type": "CLIPTextEncode", "inputs": {"text": "bad", "clip": ["9", 0]}},
          "9": {"class_type": "CLIPSetLastLayer", "inputs": {"stop_at_clip_layer":
          -9223372036854775808, "clip": ["10", 1]}},
          "10": {"class_type": "LoraLoader", "inputs": {"lora_name": "x", "strength_model": 0.5,
          "strength_clip": 1}},
          "20": {"class_type": "ConditioningSetArea", "inputs": {"conditioning": ["7", 0], "x": 0,
          "y": 0, "width": 64, "height": 32, "strength": -3}}})",
      "x");
  EXPECT_EQ(record.options.sampler.clip_skip, 1);
  EXPECT_EQ(record.scene.at("regions")[0].at("weight"), 0.01);
  EXPECT_THAT(
      record.left_out,
      testing::UnorderedElementsAre(
          HasSubstr("last 9223372036854775807 layers"), HasSubstr("weight -3 of"),
          HasSubstr("strength 1 of x in the text encoder"),
          HasSubstr("\"add_noise\" of KSamplerAdvanced, which is \"disable\""),
          HasSubstr("\"batch_size\" of EmptyLatentImage, which is 4"), HasSubstr("layers")));
  const auto part = read_comfyui_graph(
      R"({"3": {"class_type": "KSampler", "inputs": {"denoise": 0.5, "latent_image": ["5", 0]}},
          "5": {"class_type": "EmptyLatentImage", "inputs": {}}})",
      "x");
  EXPECT_THAT(part.left_out, testing::Contains(HasSubstr("0.5 of the noise")));
}

TEST(Graphs, OfAnotherKindAreNamed) {
  for (const char* text : {"{}", "[]", "{\"1\": {\"class_type\": \"SamplerCustom\"}}", "{", "1"}) {
    EXPECT_THROW(read_comfyui_graph(text, "x"), Error) << text;
  }
  EXPECT_FALSE(read_foreign({{"Comment", "x"}}, "x"));
}

}  // namespace
}  // namespace mos::region
