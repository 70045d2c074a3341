#include "mos/region/foreign_record.h"

#include <fmt/core.h>
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

std::vector<std::string> left_out_of(const std::string& prompt, const std::string& fields) {
  return read_parameters(prompt + "\nSteps: 9, Sampler: Euler, " + fields, "x").left_out;
}

TEST(Parameters, NameTheNetworksThatAreNotTaken) {
  const std::string loras = "a dog, easynegative <lora:add_detail:1>";
  EXPECT_THAT(
      left_out_of(loras,
                  "Model hash: 1, Model: m, VAE hash: 735e4c3a44, VAE: "
                  "vae-ft.safetensors, Lora hashes: \"add_detail: 7c6b, other: 1\", "
                  "TI hashes: \"easynegative: c74b, bad-hands: 2\", Version: v1.9.4"),
      ElementsAre(HasSubstr("the embedding easynegative: "), HasSubstr("the embedding bad-hands: "),
                  HasSubstr("the LoRA other, which no prompt names"),
                  "its VAE vae-ft.safetensors; the model's own is taken"));
  EXPECT_THAT(left_out_of("a", "Model hash: 6ce0, VAE hash: 735e"),
              ElementsAre("its VAE of the hash 735e; the model's own is taken",
                          "its model of the hash 6ce0, which it does not name"));
}

TEST(Parameters, NameWhatExtensionsHaveHashesOf) {
  // With the quotes of A1111, and as extensions and other programs write it.
  for (const char* hashes :
       {R"("{\"vae\": \"1\", \"embed:bad\": \"2\", \"lora:ink\": \"3\", \"model\": \"4\"}")",
        R"({"vae": "1", "embed:bad": "2", "lora:ink": "3", "model": "4"})"}) {
    EXPECT_THAT(left_out_of("a", fmt::format("Model: m, TI hashes: \"bad: 2\", Hashes: {}, "
                                             "Clip skip: 2",
                                             hashes)),
                ElementsAre(HasSubstr("the embedding bad: "), HasSubstr("the LoRA ink, "),
                            "its VAE; the model's own is taken"))
        << hashes;
  }
  EXPECT_THAT(left_out_of("a", R"(Hashes: {"hypernet:h": "1", "model": "2", "x": 3})"),
              ElementsAre("the hypernet h", "x: 3", "its model, which it does not name"));
  EXPECT_THAT(left_out_of("a", "Hashes: {no, Seed: 4"), ElementsAre("Hashes: {no"));
  EXPECT_THAT(left_out_of("a", R"(Civitai resources: [{"type":"lora","weight":0.8}], Seed: 4)"),
              ElementsAre(R"(Civitai resources: [{"type":"lora","weight":0.8}])"));
}

/// Every name that A1111, Forge and their extensions are known to write.
TEST(Parameters, NameEveryKeyThatIsNeitherTakenNorWithoutEffect) {
  for (const char* key : {"Image CFG scale",
                          "Face restoration",
                          "FP8 weight",
                          "Cache FP16 weight for LoRA",
                          "Variation seed",
                          "Variation seed strength",
                          "Seed resize from",
                          "Conditional mask weight",
                          "ENSD",
                          "Token merging ratio",
                          "Token merging ratio hr",
                          "Init image hash",
                          "Tiling",
                          "Hires prompt",
                          "Hires negative prompt",
                          "Hires steps",
                          "Hires resize",
                          "Hires sampler",
                          "Hires schedule type",
                          "Hires checkpoint",
                          "Hires CFG Scale",
                          "Hires Module 1",
                          "Refiner",
                          "Refiner switch at",
                          "Emphasis",
                          "NGMS",
                          "NGMS all steps",
                          "Pad conds",
                          "Skip Early CFG",
                          "Sigma churn",
                          "Sigma tmin",
                          "Sigma tmax",
                          "Sigma noise",
                          "Schedule max sigma",
                          "Schedule min sigma",
                          "Schedule rho",
                          "Discard penultimate sigma",
                          "Noise Schedule",
                          "SGM noise multiplier",
                          "Beta schedule alpha",
                          "Beta schedule beta",
                          "Mask blur",
                          "Inpaint area",
                          "Masked area padding",
                          "Masked content",
                          "Noise multiplier",
                          "Extra noise",
                          "Hypernet",
                          "Hypernet strength",
                          "Script",
                          "Distilled CFG Scale",
                          "Module 1",
                          "Diffusion in Low Bits",
                          "ControlNet 0",
                          "ADetailer model",
                          "RP Active",
                          "FreeU Stages",
                          "AddNet Enabled",
                          "Dynamic thresholding enabled",
                          "Downcast alphas_cumprod",
                          "UniPC variant",
                          "UniPC order",
                          "UniPC skip type",
                          "Use old emphasis implementation"}) {
    const auto left_out = left_out_of("a", fmt::format("{}: 0.25", key));
    EXPECT_THAT(left_out, ElementsAre(HasSubstr(key))) << key;
  }
  for (const char* fields : {"RNG: TPU", "Emphasis: None"}) {
    EXPECT_THAT(left_out_of("a", fields), ElementsAre(fields));
  }
  EXPECT_THAT(left_out_of("a",
                          "Version: f2, User: me, Template: \"{a|b}\", Negative Template: b, "
                          "Batch size: 4, Batch pos: 1, Emphasis: Original, RNG: GPU"),
              IsEmpty());
}

TEST(Parameters, HavePromptsOfA1111AndNotOfOurs) {
  const auto record = read_parameters(
      "{{a dog}}, hair++ {red|blue} <lora:x:0.5>\nNegative prompt: {a|b} <lora:y:1>, (BREAK)\n"
      "Steps: 9",
      "x");
  EXPECT_EQ(record.prompt, "\\{\\{a dog}}, hair\\+\\+ \\{red|blue} <lora:x:0.5>");
  EXPECT_EQ(record.negative_prompt, "\\{a|b} \\<lora:y:1>, (break:-1.1)");
}

TEST(Parameters, TagsOfFilesAreReadAsThereOrNamed) {
  const auto record = read_parameters(
      "a <lora:x:0.5:0.8> <lora:y:te=1:unet=0.3> <lyco:z> <lora:b:1:lbw=MIDD> <hypernet:h:1> "
      "<lora:q:much> b <c\nSteps: 9",
      "x");
  EXPECT_EQ(record.prompt, "a <lora:x:0.8> <lora:y:0.3> <lyco:z> <lora:b:1>   b <c");
  EXPECT_THAT(
      record.left_out,
      ElementsAre(HasSubstr("strength 0.5 of x in the text encoder; both networks have 0.8"),
                  HasSubstr("strength 1 of y in the text encoder"),
                  "\"lbw=MIDD\" of <lora:b:1:lbw=MIDD>", HasSubstr("<hypernet:h:1>, which"),
                  HasSubstr("<lora:q:much>, which does not say")));
}

TEST(Parameters, PromptsThatWerePaintedEachByItselfAreNamed) {
  EXPECT_THAT(left_out_of("a cat :1.2 AND a dog :0.5", "Seed: 1"),
              ElementsAre(HasSubstr("AND, between texts")));
  EXPECT_THAT(left_out_of("SAND and HANDS", "Seed: 1"), IsEmpty());
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

TEST(Parameters, TheSizeOfASecondPassIsAFactorHere) {
  const auto read = [](const std::string& size) {
    return read_parameters(
        "cat\nSteps: 9, Size: 512x256, Denoising strength: 0.4, Hires resize: " + size, "x");
  };
  for (const char* size : {"1024x512", "1024x0", "0x512"}) {
    const auto record = read(size);
    EXPECT_EQ(record.options.pictures.hires, 2.0) << size;
    EXPECT_EQ(record.options.pictures.hires_strength, 0.4) << size;
    EXPECT_THAT(record.left_out, IsEmpty()) << size;
  }
  for (const char* size : {"1024x1024", "x", "512x256", "0x0", "1024x-1", "wide"}) {
    const auto record = read(size);
    EXPECT_EQ(record.options.pictures.hires, 1.0) << size;
    EXPECT_THAT(record.left_out, ElementsAre(fmt::format("Hires resize: {}", size),
                                             "Denoising strength 0.4 of a second pass"));
  }
}

TEST(Parameters, AKeyOfStepsDoesNotHideWhatStandsBeforeIt) {
  const auto record =
      read_parameters("Steps: a poem\nSteps: 9, Seed: 4, Tile Steps: 5, Note: \"Steps: 6\"", "x");
  EXPECT_EQ(record.prompt, "Steps: a poem");
  EXPECT_EQ(record.options.steps, 9);
  EXPECT_EQ(record.options.seed, 4U);
  EXPECT_THAT(record.left_out, ElementsAre("Tile Steps: 5", "Note: Steps: 6"));
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

TEST(Parameters, WeWriteTellOfAllThatWasPainted) {
  Scene scene;
  scene.prompt = "a cat";
  scene.root_prompt = "ink";
  scene.root_negative_prompt = "bad";
  SampleOptions options;
  options.scheduler = "euler";
  options.sampler.sigmas = "automatic";
  options.width = options.height = 64;
  options.pictures.hires = 1.5;
  options.pictures.hires_strength = 0.6;
  for (const auto& [ours, theirs] : {std::pair{"latent", "Latent"}, {"lanczos", "Lanczos"}}) {
    options.pictures.hires_upscale = ours;
    const auto text = parameters_text(scene, options, 7, "1.0");
    EXPECT_EQ(text,
              fmt::format("ink, a cat\nNegative prompt: bad\nSteps: 50, Sampler: Euler, Schedule "
                          "type: Automatic, CFG scale: 7.5, Seed: 7, Size: 64x64, Denoising "
                          "strength: 0.6, RNG: CPU, Hires upscale: 1.5, Hires upscaler: {}, "
                          "Version: mos 1.0",
                          theirs));
    const auto record = read_parameters(text, "x");
    EXPECT_THAT(record.left_out, IsEmpty());
    EXPECT_EQ(record.options.pictures, options.pictures);
  }
}

TEST(Parameters, WeWriteHaveTheSyntaxOfA1111) {
  Scene scene;
  scene.prompt = "a (dog) [x] {y|z} <lora:w:1> C++ BREAK";
  scene.negative_prompt = "a cat++";
  SampleOptions options;
  const auto weighted = parameters_text(scene, options, 7, "1.0");
  EXPECT_THAT(weighted, HasSubstr("\nNegative prompt: a (cat:1.21)\n"));
  options.sampler.plain_text = true;
  const auto plain = parameters_text(scene, options, 7, "1.0");
  EXPECT_THAT(plain, testing::StartsWith("a \\(dog\\) \\[x\\] {y|z} <\\lora:w:1> C++ break\n"
                                         "Negative prompt: a cat++\n"));
  EXPECT_EQ(read_parameters(plain, "x").prompt,
            "a \\(dog\\) \\[x\\] \\{y|z} \\<lora:w:1> C\\+\\+ break");
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

}  // namespace
}  // namespace mos::region
