#include "mos/region/foreign_record.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "mos/base/error.h"

namespace mos::region {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr const char* kA1111 =
    "a cat, (snow:1.2)\nin two lines <lora:x:0.8>\nNegative prompt: blurry, bad\n"
    "Steps: 25, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 6.5, Seed: 4007303030, "
    "Size: 512x768, Model hash: 6ce0161689, Model: v1-5, Clip skip: 2, ControlNet 0: \"Module: "
    "none, Model: x\", Version: v1.9.0";

TEST(Parameters, OfA1111AreReadWithWhatIsLeftOut) {
  const auto record = read_parameters(kA1111, "x.png");
  EXPECT_EQ(record.prompt, "a cat, (snow:1.2)\nin two lines <lora:x:0.8>");
  EXPECT_EQ(record.negative_prompt, "blurry, bad");
  EXPECT_EQ(record.model, "v1-5");
  const auto& options = record.options;
  EXPECT_EQ(options.steps, 25);
  EXPECT_EQ(options.scheduler, "dpm++");
  EXPECT_EQ(options.sampler.sigmas, "karras");
  EXPECT_EQ(options.guidance_scale, 6.5);
  EXPECT_EQ(options.seed, 4007303030U);
  EXPECT_EQ(options.width, 512);
  EXPECT_EQ(options.height, 768);
  EXPECT_EQ(options.sampler.clip_skip, 2);
  EXPECT_EQ(options.sampler.noise, "a1111");
  EXPECT_THAT(record.left_out, ElementsAre("ControlNet 0: Module: none, Model: x"));
}

TEST(Parameters, OldNamesOfSamplersHoldTheirSigmas) {
  const auto record = read_parameters("cat\nSteps: 9, Sampler: DPM++ SDE Karras", "x");
  EXPECT_EQ(record.options.scheduler, "dpm++sde");
  EXPECT_EQ(record.options.sampler.sigmas, "karras");
  const auto unknown = read_parameters("Steps: 9, Sampler: DPM adaptive, Seed: x", "x");
  EXPECT_EQ(unknown.prompt, "");
  EXPECT_EQ(unknown.left_out.size(), 2U);
}

TEST(Parameters, WithoutALineOfOptionsAreNamed) {
  EXPECT_THROW(read_parameters("a cat", "x.png"), Error);
}

TEST(Parameters, WeWriteAreReadAgain) {
  Scene scene;
  scene.prompt = "a cat";
  scene.negative_prompt = "bad";
  SampleOptions options;
  options.scheduler = "euler_a";
  options.sampler.sigmas = "exponential";
  options.width = 64;
  options.height = 32;
  const auto text = parameters_text(scene, options, 7, "1.0");
  EXPECT_EQ(text,
            "a cat\nNegative prompt: bad\nSteps: 50, Sampler: Euler a, Schedule type: Exponential, "
            "CFG scale: 7.5, Seed: 7, Size: 64x32, RNG: CPU, Version: mos 1.0");
  const auto record = read_parameters(text, "x");
  EXPECT_THAT(record.left_out, IsEmpty());
  EXPECT_EQ(record.options.scheduler, "euler_a");
  EXPECT_EQ(record.options.sampler.sigmas, "exponential");
  EXPECT_EQ(record.options.sampler.noise, "cpu");
  EXPECT_EQ(record.options.seed, 7U);
}

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
  EXPECT_EQ(record.prompt, "a cat <lora:x.safetensors:0.5>");
  EXPECT_EQ(record.negative_prompt, "bad");
  EXPECT_EQ(record.model, "v1-5.safetensors");
  EXPECT_EQ(record.options.scheduler, "dpm++");
  EXPECT_EQ(record.options.sampler.sigmas, "karras");
  EXPECT_EQ(record.options.seed, 5U);
  EXPECT_EQ(record.options.width, 640);
  EXPECT_THAT(record.left_out, ElementsAre(HasSubstr("FreeU")));
}

TEST(Graphs, OfAnotherKindAreNamed) {
  for (const char* text :
       {"{}", "[]", "{\"1\": {\"class_type\": \"KSamplerAdvanced\"}}", "{", "1"}) {
    EXPECT_THROW(read_comfyui_graph(text, "x"), Error) << text;
  }
  EXPECT_FALSE(read_foreign({{"Comment", "x"}}, "x"));
}

}  // namespace
}  // namespace mos::region
