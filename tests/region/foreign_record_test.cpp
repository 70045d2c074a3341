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

}  // namespace
}  // namespace mos::region
