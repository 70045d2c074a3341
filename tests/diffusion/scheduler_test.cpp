#include "mos/diffusion/scheduler.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "mos/base/error.h"
#include "mos/base/random.h"
#include "tests/support/errors.h"

namespace mos::diffusion {
namespace {

using test::message_of;
using testing::ElementsAre;
using testing::HasSubstr;

Json config(const Json& changes = Json::object()) {
  Json values = {{"_class_name", "DDIMScheduler"},
                 {"beta_start", 0.00085},
                 {"beta_end", 0.012},
                 {"beta_schedule", "scaled_linear"},
                 {"clip_sample", false},
                 {"set_alpha_to_one", false},
                 {"steps_offset", 1},
                 {"skip_prk_steps", true}};
  if (!changes.is_null()) values.update(changes);
  return values;
}

torch::Tensor test_sample(std::uint64_t seed = 3) {
  auto generator = seeded_generator(seed);
  return randn({2, 4, 4, 4}, generator);
}

/// Samples with a network that knows the picture: its ε or v is what the forward process says.
torch::Tensor sample_with_oracle(Scheduler& scheduler, const torch::Tensor& picture,
                                 std::int64_t steps, bool scaled_by_sigma = false) {
  scheduler.set_timesteps(steps);
  auto generator = seeded_generator(5);
  auto sample = test_sample(4) * scheduler.init_noise_sigma();
  const auto& schedule = scheduler.noise_schedule();
  for (std::size_t i = 0; i < scheduler.timesteps().size(); ++i) {
    const auto index = static_cast<std::int64_t>(i);
    const auto t = static_cast<std::int64_t>(scheduler.timesteps()[i]);
    const double alpha = schedule.alpha_cumprod(t);
    auto input = scheduler.scale_model_input(sample, index);
    const auto noise = scaled_by_sigma
                           ? (input - std::sqrt(alpha) * picture) / std::sqrt(1 - alpha)
                           : (sample - std::sqrt(alpha) * picture) / std::sqrt(1 - alpha);
    torch::Tensor output = noise;
    if (schedule.prediction_type() == PredictionType::kVelocity) {
      output = std::sqrt(alpha) * noise - std::sqrt(1 - alpha) * picture;
    } else if (schedule.prediction_type() == PredictionType::kSample) {
      output = picture;
    }
    sample = scheduler.step(output, index, sample, &generator);
  }
  return sample;
}

struct Variant {
  std::string name;
  Json changes;
  double tolerance;  ///< What is left of the noise at the schedule's last ᾱ, and of steps.
};

class SchedulerVariants : public testing::TestWithParam<Variant> {};

TEST_P(SchedulerVariants, APerfectNetworkLeadsToItsPicture) {
  const auto& [name, changes, tolerance] = GetParam();
  const auto scheduler = make_scheduler(name, config(changes));
  const auto picture = test_sample(9);
  const auto result = sample_with_oracle(*scheduler, picture, 25, name == "euler");
  EXPECT_LT((result - picture).abs().max().item<double>(), tolerance);
}

INSTANTIATE_TEST_SUITE_P(
    All, SchedulerVariants,
    testing::Values(
        Variant{"ddpm", {}, 0.3}, Variant{"ddpm", {{"variance_type", "fixed_large"}}, 0.3},
        Variant{"ddpm", {{"timestep_spacing", "trailing"}}, 0.3}, Variant{"ddim", {}, 0.2},
        Variant{"ddim", {{"timestep_spacing", "linspace"}}, 0.4},
        Variant{"ddim", {{"prediction_type", "sample"}}, 0.2},
        Variant{"ddim", {{"prediction_type", "v_prediction"}, {"set_alpha_to_one", true}}, 1e-4},
        Variant{"dpm++", {}, 0.2}, Variant{"dpm++", {{"final_sigmas_type", "zero"}}, 1e-4},
        Variant{"dpm++", {{"prediction_type", "sample"}}, 0.2},
        Variant{"dpm++", {{"prediction_type", "v_prediction"}, {"solver_order", 3}}, 0.2},
        Variant{"dpm++", {{"timestep_spacing", "trailing"}, {"solver_type", "heun"}}, 0.2},
        Variant{
            "dpm++", {{"beta_schedule", "squaredcos_cap_v2"}, {"lambda_min_clipped", -5.1}}, 0.2},
        Variant{"dpmsolver", {{"solver_order", 3}}, 0.3},
        Variant{"dpmsolver", {{"prediction_type", "sample"}, {"solver_type", "heun"}}, 0.3},
        Variant{"DPMSolverMultistepScheduler", {{"algorithm_type", "sde-dpmsolver++"}}, 0.3},
        Variant{"DPMSolverMultistepScheduler",
                {{"algorithm_type", "sde-dpmsolver++"}, {"solver_type", "heun"}},
                0.3},
        Variant{"DPMSolverMultistepScheduler",
                {{"algorithm_type", "sde-dpmsolver"}, {"euler_at_final", true}},
                1.5},
        Variant{"euler", {{"timestep_spacing", "leading"}}, 1e-3},
        Variant{"euler", {{"timestep_spacing", "trailing"}}, 1e-3}, Variant{"pndm", {}, 0.3},
        Variant{"pndm", {{"skip_prk_steps", false}}, 0.3}));

TEST(Pndm, RungeKuttaStartTakesTwelveCallsAndTheFourthStepFollows) {
  const auto scheduler = make_scheduler("pndm", config({{"skip_prk_steps", false}}));
  scheduler->set_timesteps(10);
  EXPECT_THAT(scheduler->timesteps(), ElementsAre(901, 851, 851, 801, 801, 751, 751, 701, 701, 651,
                                                  651, 601, 601, 501, 401, 301, 201, 101, 1));
  message_of(ErrorKind::kUsage, [&] { scheduler->set_timesteps(3); });
}

TEST(Spacing, IsNumpysInAllThreeKinds) {
  EXPECT_THAT(spaced_timesteps(TimestepSpacing::kLinspace, 1000, 5, 1),
              ElementsAre(999, 749, 500, 250, 0));  // rounds halves to even
  EXPECT_THAT(spaced_timesteps(TimestepSpacing::kLeading, 1000, 4, 1),
              ElementsAre(751, 501, 251, 1));
  EXPECT_THAT(spaced_timesteps(TimestepSpacing::kTrailing, 1000, 4, 1),
              ElementsAre(999, 749, 499, 249));
}

TEST(MakeScheduler, TakesTheConfigsClassUnlessOneIsNamed) {
  EXPECT_EQ(make_scheduler("", config())->class_name(), "DDIMScheduler");
  EXPECT_EQ(make_scheduler("pndm", config())->class_name(), "PNDMScheduler");
  EXPECT_EQ(make_scheduler("EulerDiscreteScheduler", config())->class_name(),
            "EulerDiscreteScheduler");
  for (const auto& name : scheduler_names()) EXPECT_NE(make_scheduler(name, config()), nullptr);
}

TEST(MakeScheduler, SuggestsTheNearestNameForAnUnknownOne) {
  const auto message =
      message_of(ErrorKind::kFormat, [] { make_scheduler("EulerDiskreteScheduler", config()); });
  EXPECT_THAT(message, HasSubstr("EulerDiscreteScheduler"));
}

TEST(MakeScheduler, IgnoresKeysOfOtherSchedulersAndRefusesUnknownOnes) {
  EXPECT_NO_THROW(make_scheduler("euler", config({{"solver_order", 7}})));
  const auto message = message_of(ErrorKind::kFormat, [] {
    make_scheduler("ddim", config({{"step_offset", 1}}));
  });
  EXPECT_THAT(message, HasSubstr("\"step_offset\""));
  EXPECT_THAT(message, HasSubstr("steps_offset"));
}

TEST(MakeScheduler, RefusesWhatItCannotHonourByName) {
  const auto refused = [](const std::string& name, const Json& changes) {
    return message_of(ErrorKind::kFormat, [&] { make_scheduler(name, config(changes)); });
  };
  EXPECT_THAT(refused("ddim", {{"beta_schedule", "cosine"}}), HasSubstr("beta_schedule"));
  EXPECT_THAT(refused("ddim", {{"prediction_type", "eps"}}), HasSubstr("predict \"eps\""));
  EXPECT_THAT(refused("ddim", {{"timestep_spacing", "even"}}), HasSubstr("timestep_spacing"));
  EXPECT_THAT(refused("ddim", {{"beta_end", 2.0}}), HasSubstr("beta_end"));
  EXPECT_THAT(refused("ddim", {{"beta_end", "big"}}), HasSubstr("beta_end"));
  EXPECT_THAT(refused("ddim", {{"num_train_timesteps", 0}}), HasSubstr("num_train_timesteps"));
  EXPECT_THAT(refused("ddim", {{"trained_betas", {0.1, 0.2}}}), HasSubstr("trained_betas"));
  EXPECT_THAT(refused("dpm++", {{"solver_order", 4}}), HasSubstr("solver_order"));
  EXPECT_THAT(refused("dpm++", {{"use_lu_lambdas", true}}), HasSubstr("use_lu_lambdas"));
  EXPECT_THAT(refused("euler", {{"use_beta_sigmas", true}}), HasSubstr("use_beta_sigmas"));
  EXPECT_THAT(refused("ddpm", {{"variance_type", "learned"}}), HasSubstr("variance_type"));
  EXPECT_THAT(refused("pndm", {{"prediction_type", "sample"}}), HasSubstr("prediction_type"));
}

TEST(MakeScheduler, NamesTheFileOfWhatItCannotHonour) {
  for (const auto& name : scheduler_names()) {
    const auto refused = [&](const Json& changes) {
      return message_of(ErrorKind::kFormat, [&] { make_scheduler(name, config(changes)); });
    };
    EXPECT_THAT(refused({{"beta_end", "big"}}), HasSubstr("scheduler_config.json")) << name;
    EXPECT_THAT(refused({{"no_such_key", 1}}), HasSubstr("scheduler_config.json")) << name;
  }
}

TEST(MakeScheduler, TakesNoOffsetThatIsLongerThanAnyTable) {
  for (const auto& offset : {Json(1e30), Json(INT64_MAX), Json(INT64_MIN), Json("1"), Json(0.5)}) {
    for (const char* name : {"ddim", "ddpm", "pndm", "dpm++", "euler", "unipc"}) {
      const auto message = message_of(ErrorKind::kFormat, [&] {
        make_scheduler(name, config({{"steps_offset", offset}}));
      });
      EXPECT_THAT(message, HasSubstr("steps_offset")) << name;
      EXPECT_THAT(message, HasSubstr("scheduler_config.json")) << name;
    }
  }
}

TEST(MakeScheduler, GivesEtaToDdimAlone) {
  message_of(ErrorKind::kUsage, [] { make_scheduler("euler", config(), {.eta = 0.5}); });
  message_of(ErrorKind::kUsage, [] { make_scheduler("ddim", config(), {.eta = 1.5}); });
  const auto scheduler = make_scheduler("ddim", config(), {.eta = 1.0});
  scheduler->set_timesteps(10);
  const auto sample = test_sample();
  message_of(ErrorKind::kUsage, [&] { scheduler->step(sample, 0, sample); });
}

TEST(SetTimesteps, RefusesCountsThatTheScheduleDoesNotHave) {
  const auto scheduler = make_scheduler("ddim", config());
  for (const std::int64_t steps : {-1, 0, 1001}) {
    message_of(ErrorKind::kUsage, [&] { scheduler->set_timesteps(steps); });
  }
  message_of(ErrorKind::kUsage,
             [&] { scheduler->set_timesteps(1000); });  // steps_offset ends at 1000
}

TEST(Schedulers, StartAgainAtStepZero) {
  for (const char* name : {"dpm++", "pndm"}) {
    const auto scheduler = make_scheduler(name, config());
    const auto first = sample_with_oracle(*scheduler, test_sample(9), 5);
    const auto second = sample_with_oracle(*scheduler, test_sample(9), 5);
    EXPECT_TRUE(torch::equal(first, second)) << name;
  }
}

TEST(NoiseSource, GivesEachPictureOfABatchWhatItGetsAlone) {
  const auto like = torch::zeros({2, 3});
  using Generators = std::vector<at::Generator>;
  const NoiseSource pair(Generators{seeded_generator(7), seeded_generator(8)});
  const NoiseSource alone(Generators{seeded_generator(8)});
  const auto both = pair.like(like);
  const auto second = alone.like(like.slice(0, 1));
  EXPECT_TRUE(torch::equal(both.slice(0, 1), second));
  message_of(ErrorKind::kUsage, [&] { alone.like(like); });
}

TEST(NoiseSchedule, ZeroTerminalSnrEndsInPureNoise) {
  auto schedule = NoiseSchedule::from_config(config({{"rescale_betas_zero_snr", true}}));
  EXPECT_EQ(schedule.alpha_cumprod(999), 0.0F);
  EXPECT_FLOAT_EQ(schedule.alpha_cumprod(0), NoiseSchedule::from_config(config()).alpha_cumprod(0));
  schedule.keep_last_alpha_positive();
  EXPECT_GT(schedule.alpha_cumprod(999), 0.0F);
}

TEST(NoiseSchedule, TargetsFollowThePredictionType) {
  const auto original = test_sample(1);
  const auto noise = test_sample(2);
  const auto timesteps = torch::tensor({10, 900}, torch::kInt64);
  const auto target = [&](const char* type) {
    return NoiseSchedule::from_config(config({{"prediction_type", type}}))
        .target(original, noise, timesteps);
  };
  EXPECT_TRUE(torch::equal(target("epsilon"), noise));
  EXPECT_TRUE(torch::equal(target("sample"), original));
  EXPECT_FALSE(torch::equal(target("v_prediction"), noise));
}

TEST(ParseConfig, ReadsPythonsMinusInfinityOutsideStringsAsDefault) {
  const auto json =
      parse_config(R"({"lambda_min_clipped": -Infinity, "note": "\"-Infinity"})", "x");
  EXPECT_TRUE(json.at("lambda_min_clipped").is_null());
  EXPECT_EQ(json.at("note"), "\"-Infinity");
}

TEST(SampleClipping, ThresholdingScalesByTheQuantileOfEachPicture) {
  SampleClipping clipping;
  clipping.thresholding = true;
  clipping.dynamic_thresholding_ratio = 1.0;
  clipping.sample_max_value = 4.0;
  const auto clipped = clipping.apply(torch::tensor({{-2.0F, 1.0F}, {0.5F, 8.0F}}));
  EXPECT_TRUE(torch::allclose(clipped, torch::tensor({{-1.0F, 0.5F}, {0.125F, 1.0F}})));
}

}  // namespace
}  // namespace mos::diffusion
