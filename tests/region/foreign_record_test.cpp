#include "mos/region/foreign_record.h"

#include <fmt/core.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "mos/base/error.h"
#include "mos/diffusion/scheduler_names.h"

namespace mos::region {
namespace {

using testing::ContainsRegex;
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
  EXPECT_THAT(read_parameters("Steps: 9, Seed: -1", "x").left_out,
              ElementsAre("Seed is -1, which stands for one drawn by chance; 0 is taken"));
}

TEST(Parameters, OfASecondPassAndOfImg2imgAreToldApart) {
  const auto twice = read_parameters(
      "cat\nSteps: 9, Sampler: Euler, Denoising strength: 0.4, Hires upscale: 2, Hires upscaler: "
      "Lanczos, RNG: NV",
      "x");
  EXPECT_EQ(twice.options.pictures.hires, 2.0);
  EXPECT_EQ(twice.options.pictures.hires_strength, 0.4);
  EXPECT_EQ(twice.options.pictures.hires_upscale, "lanczos");
  EXPECT_EQ(twice.options.sampler.noise, "a1111");  // NV draws on a CPU what a GPU draws
  EXPECT_THAT(twice.left_out, IsEmpty());
  const auto over = read_parameters("cat\nSteps: 9, Denoising strength: 0.3, RNG: CPU", "x");
  EXPECT_EQ(over.options.pictures.hires_strength, SampleOptions().pictures.hires_strength);
  EXPECT_EQ(over.options.sampler.noise, "cpu");
  EXPECT_THAT(over.left_out, ElementsAre(HasSubstr("--init FILE --strength 0.3")));
}

/// What Forge writes: values with commas, colons or line breaks are JSON strings.
std::string forge(const std::string& prompt, const std::string& fields) {
  return prompt +
         "\nNegative prompt: bad\nSteps: 9, Sampler: Euler, Size: 64x64, forge_couple: True, "
         "forge_couple_separator: \"\\n\", " +
         fields + ", Version: f2";
}

TEST(ForgeCouple, TilesAreRegionsAndTheirBackgroundHoldsInAll) {
  const auto plain = read_parameters(forge("a cat\n\na dog\na cow",
                                           "forge_couple_mode: Basic, forge_couple_direction: "
                                           "Vertical, forge_couple_background: None"),
                                     "x");
  const auto& regions = plain.scene.at("regions");
  ASSERT_EQ(regions.size(), 3U);
  EXPECT_EQ(regions[1].at("prompt"), "a dog");
  EXPECT_EQ(regions[1].at("box"), Json({1.0 / 3.0, 0.0, 2.0 / 3.0, 1.0}));
  EXPECT_EQ(plain.prompt, "");
  EXPECT_EQ(plain.scene.at("root_negative_prompt"), "bad");
  EXPECT_THAT(plain.left_out, IsEmpty());
  const auto first = read_parameters(
      forge("sea\na dog\na cow",
            "forge_couple_mode: Basic, forge_couple_direction: Horizontal, "
            "forge_couple_background: First Line, forge_couple_background_weight: 0.25"),
      "x");
  EXPECT_EQ(first.prompt, "sea");
  EXPECT_DOUBLE_EQ(first.scene.at("base_ratio"), 0.2);  // of tiles that weigh 1
  EXPECT_EQ(first.scene.at("regions")[1].at("box"), Json({0.0, 0.5, 1.0, 1.0}));
}

TEST(ForgeCouple, RowsOfTheMappingAreBoxes) {
  const auto record = read_parameters(
      forge("sea\na dog <lora:x:0.5>\na cow",
            "forge_couple_mode: Advanced, forge_couple_mapping: \"[[0, 1, 0, 1, 1.0], [0.0, 0.5, "
            "0.25, 1.0, 0.7], [0.5, 1.0, 0.25, 1.0, 1.3]]\""),
      "x");
  EXPECT_EQ(record.prompt, "sea");
  EXPECT_EQ(record.scene.at("base_ratio"), 0.5);
  const auto& regions = record.scene.at("regions");
  ASSERT_EQ(regions.size(), 2U);
  EXPECT_EQ(regions[0].at("box"), Json({0.25, 0.0, 1.0, 0.5}));
  EXPECT_EQ(regions[0].at("weight"), 0.7);
  EXPECT_THAT(record.left_out, ElementsAre(HasSubstr("1.3")));
  const Canvas canvas{64, 64};
  EXPECT_EQ(scene_from_json(record.scene, "x", canvas).regions[1].prompt, "a cow");
}

TEST(ForgeCouple, WhatIsNotInThePictureIsNamedAndThePromptKept) {
  for (const char* fields : {"forge_couple_mode: Mask", "forge_couple_mode: Advanced",
                             "forge_couple_mode: Advanced, forge_couple_mapping: \"[[1, 2]]\""}) {
    const auto record = read_parameters(forge("a cat\na dog", fields), "x");
    EXPECT_EQ(record.prompt, "a cat\na dog");
    EXPECT_FALSE(record.scene.contains("regions"));
    EXPECT_EQ(record.left_out.size(), 1U);
  }
}

/// As 4.0.2 writes it: no quotes, and the separator's line break as a backslash and an n.
std::string forge_4(const std::string& prompt, const std::string& fields) {
  return prompt +
         "\nSteps: 9, Sampler: Euler, Size: 64x64, forge_couple: True, "
         "forge_couple_compatibility: False, forge_couple_mode: Basic, " +
         fields + ", forge_couple_direction: Horizontal, forge_couple_common_parser: off";
}

TEST(ForgeCouple, EscapesOfItsSeparatorAreReadAsThere) {
  for (const auto& [separator, prompt] : std::vector<std::pair<std::string, std::string>>{
           {"\\n", "sea\na dog\na cow"},
           {"\\n\\n", "sea\n\na dog\n\na cow"},
           {"\\tAND\\t", "sea AND a dog AND a cow"},
           {"AND", "sea AND a dog AND a cow"},
           {"\\t", "sea\na dog\na cow"}}) {  // blank: a line break
    const auto record =
        read_parameters(forge_4(prompt, "forge_couple_separator: " + separator +
                                            ", forge_couple_background: First Line"),
                        "x");
    EXPECT_EQ(record.prompt, "sea") << separator;
    EXPECT_THAT(record.left_out, IsEmpty()) << separator;
    ASSERT_EQ(record.scene.at("regions").size(), 2U) << separator;
    EXPECT_EQ(record.scene.at("regions")[0].at("prompt"), "a dog");
  }
}

TEST(ForgeCouple, TooFewLinesAndNoRegionAreSaidAndThePromptKept) {
  for (const auto& [text, why] : std::vector<std::pair<std::string, std::string>>{
           {forge_4("a cat", "forge_couple_background: None"), "2 lines.*\"\\\\n\".*has 1"},
           {forge_4("a cat\na dog", "forge_couple_background: First Line"), "3 lines.*has 2"},
           {forge_4("a cat\na dog\na cow",
                    "forge_couple_background: None, forge_couple_separator: AND"),
            "\"AND\".*has 1"},
           {forge_4("", "forge_couple_background: None"), "has 0"},
           {"a cat\na dog\nSteps: 9, forge_couple: ERROR", "mistake"},
           {forge("a cat\na dog",
                  "forge_couple_mode: Advanced, forge_couple_mapping: \"[[0, 1, 0, 1, 1], [0, 0.5, "
                  "0, 1, 0]]\""),
            "none beside the background"}}) {
    const auto record = read_parameters(text, "x");
    EXPECT_EQ(
        record.prompt,
        text.substr(0, text.find(text.find("Negative") == text.npos ? "\nSteps" : "\nNegative")));
    EXPECT_FALSE(record.scene.contains("regions"));
    EXPECT_THAT(record.left_out, ElementsAre(ContainsRegex(why)));
  }
}

TEST(ForgeCouple, FieldsThatAreNotKnownHereAreNamed) {
  const auto record = read_parameters(forge("a cat\na dog",
                                            "forge_couple_direction: Diagonal, forge_couple_x: 3, "
                                            "forge_couple_common_parser: off"),
                                      "x");
  EXPECT_THAT(record.left_out,
              ElementsAre("forge_couple_direction: Diagonal", "forge_couple_x: 3"));
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

/// The line of options that we write, read again as another program would: by its text alone.
TEST(Parameters, NameTheSamplerTheScheduleAndTheNoiseThatPainted) {
  struct Case {
    const char *scheduler, *sigmas, *text;
    const char *again, *sigmas_again;
  };
  for (const auto& one : std::vector<Case>{
           {"dpm++", "", "Sampler: DPM++ 2M, CFG", "dpm++", ""},
           {"DPM++ 2M Karras", "", "Sampler: DPM++ 2M, Schedule type: Karras,", "dpm++", "karras"},
           {"DPM2 a Karras", "", "Sampler: DPM2 a, Schedule type: Karras,", "dpm2_a", "karras"},
           {"DPM++ 2S a Karras", "", "Sampler: DPM++ 2S a, Schedule type: Karras,", "dpm++2s_a",
            "karras"},
           {"DPM++ 2M SDE Exponential", "", "Sampler: DPM++ 2M SDE, Schedule type: Exponential,",
            "dpm++2m_sde", "exponential"},
           {"dpmpp_2m_sde_k", "", "Sampler: DPM++ 2M SDE, Schedule type: Karras,", "dpm++2m_sde",
            "karras"},
           {"DPM++ 2M SDE Heun Karras", "", "Sampler: DPM++ 2M SDE Heun, Schedule type: Karras,",
            "DPM++ 2M SDE Heun", "karras"},
           {"DPM++ 2M SDE Heun", "Beta", "Sampler: DPM++ 2M SDE Heun, Schedule type: Beta,",
            "DPM++ 2M SDE Heun", "beta"},
           {"euler", "SGM Uniform", "Sampler: Euler, Schedule type: SGM Uniform,", "euler",
            "sgm_uniform"},
           {"euler", "Automatic", "Sampler: Euler, Schedule type: Automatic,", "euler",
            "automatic"},
           {"Euler Karras", "automatic", "Sampler: Euler, Schedule type: Karras,", "euler",
            "karras"},
           {"unipc", "", "Sampler: UniPC, CFG", "unipc", ""},
           {"uni_pc_bh2", "karras", "Sampler: UniPC, Schedule type: Karras,", "unipc", "karras"},
           {"uni_pc", "karras", "Sampler: UniPC, Schedule type: Karras,", "uni_pc", "karras"}}) {
    SampleOptions options;
    options.scheduler = one.scheduler;
    options.sampler.sigmas = one.sigmas;
    const auto text = parameters_text({}, options, 1, "1");
    EXPECT_THAT(text, HasSubstr(one.text)) << one.scheduler;
    const auto record = read_parameters(text, "x");
    EXPECT_EQ(record.options.scheduler, one.again) << text;
    if (*one.sigmas_again != '\0') {
      EXPECT_EQ(record.options.sampler.sigmas, one.sigmas_again) << text;
    }
    EXPECT_THAT(record.left_out, IsEmpty()) << text;
  }
}

TEST(Parameters, UniPcOfA1111IsItsFirstFormUnlessItSaysOtherwise) {
  const auto read = [](const std::string& fields) {
    return read_parameters("cat\nSteps: 9, " + fields, "x");
  };
  const auto usual = read("Sampler: UniPC");
  EXPECT_EQ(usual.options.scheduler, "uni_pc");
  EXPECT_THAT(usual.left_out, ElementsAre(HasSubstr("UniPC order 3 is not here; 2 is taken")));
  EXPECT_EQ(read("UniPC variant: bh2, Sampler: UniPC").options.scheduler, "unipc");
  const auto third = read("Sampler: UniPC, UniPC variant: vary_coeff, UniPC order: 2");
  EXPECT_EQ(third.options.scheduler, "uni_pc");
  EXPECT_THAT(third.left_out, ElementsAre(HasSubstr("vary_coeff is not here; bh1 is taken")));
  EXPECT_THAT(read("Sampler: Euler, UniPC variant: bh1").left_out,
              ElementsAre("UniPC variant: bh1"));
}

TEST(Parameters, EtaIsThatOfTheSampler) {
  const auto read = [](const std::string& fields) {
    return read_parameters("cat\nSteps: 9, " + fields, "x");
  };
  EXPECT_EQ(read("Sampler: Euler a").options.sampler.ancestral_eta, -1.0);
  for (const char* name : {"Euler a", "DPM++ 2M SDE", "DPM++ SDE", "DPM++ 3M SDE", "DPM2 a"}) {
    const auto record = read(fmt::format("Sampler: {}, Eta: 0.5", name));
    EXPECT_EQ(record.options.sampler.ancestral_eta, 0.5) << name;
    EXPECT_THAT(record.left_out, IsEmpty()) << name;
    const auto text = parameters_text({}, record.options, 1, "1");
    EXPECT_THAT(text, HasSubstr(", Eta: 0.5, Version")) << name;
    EXPECT_EQ(read_parameters(text, "x").options.sampler.ancestral_eta, 0.5) << name;
  }
  for (const char* key : {"Eta DDIM", "Eta"}) {  // the second: before 1.5
    const auto ddim = read(fmt::format("Sampler: DDIM, {}: 0.25", key));
    EXPECT_EQ(ddim.options.eta, 0.25);
    EXPECT_EQ(ddim.options.sampler.ancestral_eta, -1.0);
    EXPECT_THAT(parameters_text({}, ddim.options, 1, "1"), HasSubstr(", Eta DDIM: 0.25, Version"));
  }
  SampleOptions usual;
  usual.scheduler = "euler_a";
  for (const double eta : {-1.0, 1.0}) {
    usual.sampler.ancestral_eta = eta;
    EXPECT_THAT(parameters_text({}, usual, 1, "1"), testing::Not(HasSubstr("Eta")));
  }
  for (const char* fields : {"Sampler: Euler, Eta: 0.5", "Sampler: Euler a, Eta DDIM: 0.5",
                             "Sampler: Euler a, Eta: 1.5", "Sampler: Euler a, Eta: x",
                             "Sampler: Euler a, Eta: nan", "Sampler: Euler, Sigma churn: 0.5"}) {
    const auto record = read(fields);
    EXPECT_EQ(record.options.sampler.ancestral_eta, -1.0) << fields;
    EXPECT_EQ(record.options.eta, 0.0) << fields;
    EXPECT_EQ(record.left_out.size(), 1U) << fields;
  }
}

TEST(Parameters, SayWhatIsTakenInThePlaceOfASchedule) {
  const auto left_out = [](const std::string& fields) {
    return read_parameters("cat\nSteps: 9, " + fields, "x").left_out;
  };
  EXPECT_THAT(left_out("Sampler: DPM++ 2M, Schedule type: Align Your Steps"),
              ElementsAre("the schedule Align Your Steps is not here; for dpm++ karras is taken"));
  EXPECT_THAT(left_out("Sampler: Euler Karras, Schedule type: Turbo"),
              ElementsAre("the schedule Turbo is not here; for euler karras is taken"));
  EXPECT_THAT(left_out("Schedule type: Turbo"),
              ElementsAre("the schedule Turbo is not here; for dpm++ the model's own is taken"));
  EXPECT_THAT(left_out("Sampler: DDIM, Schedule type: Karras"),
              ElementsAre("the schedule Karras: ddim walks the model's own timesteps"));
  EXPECT_THAT(left_out("Sampler: DDIM, Schedule type: automatic"), IsEmpty());
  EXPECT_THAT(left_out("Schedule type: AUTOMATIC, Sampler: Euler"), IsEmpty());
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

constexpr const char* kInvokeAi = R"({"generation_mode": "txt2img", "positive_prompt": "sea",
  "negative_prompt": "bad", "width": 512, "height": 256, "seed": 9, "cfg_scale": 6.5,
  "cfg_rescale_multiplier": 0, "steps": 30, "scheduler": "dpmpp_2m_k", "clip_skip": 1,
  "rand_device": "cpu", "model": {"name": "dreamshaper", "base": "sd-1"},
  "loras": [{"model": {"name": "ink"}, "weight": 0.75}], "vae": {"name": "ft-mse"},
  "canvas_v2_metadata": {"rasterLayers": [], "regionalGuidance": [
    {"id": "a", "name": "dog", "type": "regional_guidance", "isEnabled": true,
     "position": {"x": 256, "y": 0}, "positivePrompt": "a dog", "negativePrompt": null,
     "autoNegative": true, "referenceImages": [], "objects": [
      {"id": "1", "type": "rect", "rect": {"x": 0, "y": 64, "width": 128, "height": 64}},
      {"id": "2", "type": "brush_line", "strokeWidth": 32, "points": [10, 20, 30, 40]},
      {"id": "3", "type": "eraser_line_with_pressure", "strokeWidth": 8, "points": [1, 2, 0.5]}]},
    {"id": "b", "isEnabled": false, "positivePrompt": "a cow", "objects": []}]}})";

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

TEST(InvokeAi, RegionsOfItsCanvasAreDrawings) {
  const auto record = *read_foreign({{"invokeai_metadata", kInvokeAi}}, "x.png");
  EXPECT_EQ(record.scene.at("root_prompt"), "sea");
  EXPECT_EQ(record.scene.at("root_negative_prompt"), "bad");
  EXPECT_EQ(record.prompt, "");
  EXPECT_THAT(record.loras, ElementsAre(text::LoraTag{"ink", 0.75}));
  EXPECT_EQ(record.options.scheduler, "dpm++");
  EXPECT_EQ(record.options.sampler.sigmas, "karras");
  EXPECT_EQ(record.options.sampler.clip_skip, 2);
  EXPECT_EQ(record.options.guidance_scale, 6.5);
  EXPECT_EQ(record.model, "dreamshaper");
  const Canvas canvas{256, 512};
  const auto scene = scene_from_json(record.scene, "x", canvas);
  ASSERT_EQ(scene.regions.size(), 1U);
  const auto& drawing = scene.regions[0].drawing;
  ASSERT_EQ(drawing.size(), 3U);
  EXPECT_EQ(drawing[0].points[2].top, 0.5);
  EXPECT_EQ(drawing[0].points[2].left, 0.75);
  EXPECT_EQ(drawing[1].width, 0.125);
  EXPECT_TRUE(drawing[2].erase);
  EXPECT_EQ(drawing[2].points.size(), 1U);
  EXPECT_THAT(record.left_out,
              ElementsAre(HasSubstr("auto-negative"), HasSubstr("frame"), HasSubstr("vae")));
}

TEST(InvokeAi, TheKarrasHalfOfASamplerThatIsNotHereSurvives) {
  const auto read = [](const std::string& name) {
    return read_invokeai_metadata(R"({"positive_prompt": "sea", "scheduler": ")" + name + "\"}",
                                  "x");
  };
  for (const char* name : {"dpmpp_2s_k", "deis_k"}) {
    const auto record = read(name);
    EXPECT_EQ(record.options.sampler.sigmas, "karras");
    EXPECT_THAT(record.left_out,
                ElementsAre(fmt::format(
                    "the sampler {} is not here; dpm++ is taken with sigmas karras", name)));
  }
  EXPECT_THAT(read("deis").left_out, ElementsAre("the sampler deis is not here; dpm++ is taken"));
  const auto third = read("dpmpp_3m_k");
  EXPECT_EQ(third.options.scheduler, "dpmpp_3m");
  EXPECT_EQ(third.options.sampler.sigmas, "karras");
  EXPECT_THAT(third.left_out, IsEmpty());
}

TEST(InvokeAi, ValuesOfAnotherKindAreNamed) {
  const auto record = read_invokeai_metadata(
      R"({"positive_prompt": 1, "steps": 2.7, "width": "wide", "clip_skip": 9223372036854775807,
          "seed": -1, "loras": [{"model": {"name": "ink"}, "weight": "much"}]})",
      "x");
  EXPECT_EQ(record.options.steps, SampleOptions().steps);
  EXPECT_EQ(record.options.sampler.clip_skip, 1);
  EXPECT_THAT(record.left_out,
              ElementsAre(HasSubstr("positive_prompt"), HasSubstr("width, which is \"wide\""),
                          HasSubstr("seed, which is -1"), HasSubstr("steps, which is 2.7"),
                          HasSubstr("last 9223372036854775807 layers"), HasSubstr("weight")));
}

TEST(InvokeAi, GuidanceOfEachStepIsReadOrNamed) {
  const auto read = [](const std::string& scale) {
    return read_invokeai_metadata(R"({"positive_prompt": "sea", "cfg_scale": )" + scale + "}", "x");
  };
  const auto same = read("[6.5, 6.5, 6.5]");
  EXPECT_EQ(same.options.guidance_scale, 6.5);
  EXPECT_THAT(same.left_out, IsEmpty());
  const auto changing = read("[9, 6, 3]");
  EXPECT_EQ(changing.options.guidance_scale, 6.0);
  EXPECT_THAT(changing.left_out, ElementsAre(HasSubstr("from 9 to 3 over the steps")));
  const auto usual = SampleOptions().guidance_scale;
  EXPECT_EQ(read("[]").options.guidance_scale, usual);
  for (const char* text : {R"([6, "much"])", R"("much")"}) {
    const auto wrong = read(text);
    EXPECT_EQ(wrong.options.guidance_scale, usual);
    EXPECT_THAT(wrong.left_out, ElementsAre(HasSubstr("cfg_scale, which is")));
  }
}

TEST(InvokeAi, PicturesWithoutRegionsHaveTheirPrompts) {
  const auto record = read_invokeai_metadata(
      R"({"positive_prompt": "sea", "scheduler": "euler", "regions": [], "seed": 3})", "x");
  EXPECT_EQ(record.prompt, "sea");
  EXPECT_EQ(record.options.sampler.sigmas, "");
  EXPECT_THAT(record.left_out, IsEmpty());
  EXPECT_THROW(read_invokeai_metadata("[]", "x"), Error);
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
