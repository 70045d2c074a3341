#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <numbers>
#include <sstream>
#include <string>
#include <vector>

#include "mos/base/error.h"
#include "mos/base/random.h"
#include "mos/base/text.h"
#include "mos/diffusion/scheduler.h"
#include "mos/diffusion/sigma/beta_quantile.h"
#include "mos/diffusion/sigma/sigma_grid.h"
#include "mos/diffusion/sigma/sigma_method.h"
#include "tests/support/errors.h"

namespace mos::diffusion {
namespace {

using test::message_of;
using testing::HasSubstr;
using torch::Tensor;

const Json kConfig = {{"beta_start", 0.00085},
                      {"beta_end", 0.012},
                      {"beta_schedule", "scaled_linear"},
                      {"steps_offset", 1}};

/// What a perfect network says of a sample at level σ.
using Denoiser = std::function<Tensor(const Tensor&, double)>;

/// `steps` even steps in log σ from 5 to 0.05.
Tensor walk(SigmaMethod& method, std::int64_t steps, Tensor sample, const Denoiser& denoiser,
            const NoiseSource& noise = {}) {
  method.forget();
  const auto level = [steps](std::int64_t i) {
    return 5.0 * std::pow(0.01, static_cast<double>(i) / static_cast<double>(steps));
  };
  for (std::int64_t i = 0; i < steps; ++i) {
    const SigmaStep step{steps + 1 - i, level(i), level(i + 1)};
    sample = method.begin(step, sample, denoiser(sample, step.from), noise);
    const auto second = method.between(step);
    if (second) sample = method.finish(step, sample, denoiser(sample, *second), noise);
  }
  return sample;
}

/// Pictures that are +1 or −1, each half of the time: E[x_0 | x] in closed form.
Tensor two_points(const Tensor& x, double sigma) { return torch::tanh(x / (sigma * sigma)); }

/// Pictures that are N(0, 0.25): the same, and x runs along √(0.25 + σ²).
constexpr double kVariance = 0.25;
Tensor gaussian(const Tensor& x, double sigma) {
  return x * (kVariance / (kVariance + sigma * sigma));
}

struct OrderCase {
  const char* name;
  double order;
  SigmaMethodOptions options = {};
};

class SigmaMethodOrder : public testing::TestWithParam<OrderCase> {};

TEST_P(SigmaMethodOrder, ErrorsFallWithTheOrderThatThePaperProves) {
  const auto& [name, order, options] = GetParam();
  const auto method = make_sigma_method(name, options);
  const auto start = torch::tensor({-4.0, -0.5, 1.0, 3.0}, torch::kFloat64);
  const auto exact = start * std::sqrt((kVariance + 0.05 * 0.05) / (kVariance + 25.0));
  const auto error = [&](std::int64_t steps) {
    return (walk(*method, steps, start, gaussian) - exact).abs().max().item<double>();
  };
  const double measured = std::log2(error(160) / error(320));
  EXPECT_NEAR(measured, order, 0.35);
}

INSTANTIATE_TEST_SUITE_P(
    All, SigmaMethodOrder,
    testing::Values(OrderCase{"euler", 1}, OrderCase{"euler_a", 1, {.eta = 0.0}},
                    OrderCase{"heun", 2}, OrderCase{"dpm2", 2}, OrderCase{"dpm++2m", 2},
                    OrderCase{"dpm++2s_a", 2, {.eta = 0.0}}, OrderCase{"dpm++sde", 2, {.eta = 0.0}},
                    OrderCase{"dpm++2m_sde", 2, {.eta = 0.0}},
                    OrderCase{"dpm++2m_sde", 2, {.eta = 0.0, .heun = true}},
                    OrderCase{
                        "dpm++3m_sde", 2, {.eta = 0.0}},  // its φ_3 has half of Taylor's weight
                    OrderCase{"lms", 2, {.order = 2}}, OrderCase{"lms", 3, {.order = 3}},
                    OrderCase{"unipc", 2, {.order = 1}}, OrderCase{"unipc", 3, {.order = 2}},
                    OrderCase{"unipc", 3, {.order = 2, .bh1 = true}}));

TEST(SigmaMethods, DeterministicOnesLandOnTheNearestOfTwoPictures) {
  const auto start = torch::tensor({-5.0, -1.0, 0.5, 6.0}, torch::kFloat64);
  for (const char* name : {"euler", "heun", "dpm2", "dpm++2m", "lms", "unipc"}) {
    const auto method = make_sigma_method(name);
    const auto result = walk(*method, 30, start, two_points);
    EXPECT_LT((result - start.sign()).abs().max().item<double>(), 2 * 0.05) << name;
  }
}

TEST(SigmaMethods, StochasticOnesKeepTheVarianceOfThePictures) {
  for (const char* name :
       {"euler_a", "dpm2_a", "dpm++2s_a", "dpm++sde", "dpm++2m_sde", "dpm++3m_sde"}) {
    auto generator = seeded_generator(3);
    const auto method = make_sigma_method(name);
    ASSERT_TRUE(method->is_stochastic());
    const auto start =
        randn({100'000}, generator).to(torch::kFloat64) * std::sqrt(kVariance + 25.0);
    const auto result = walk(*method, 100, start, gaussian, &generator);
    // 100,000 draws know a variance to 0.5 %; steps of first order add up to 3 %.
    EXPECT_NEAR(result.var().item<double>() / (kVariance + 0.05 * 0.05), 1.0, 0.05) << name;
  }
}

TEST(SigmaMethods, NoneIsDifferentAtItsSecondRun) {
  const auto start = torch::tensor({-5.0, 0.5}, torch::kFloat64);
  for (const char* name : {"heun", "dpm2", "dpm++2m", "lms", "unipc"}) {
    const auto method = make_sigma_method(name);
    const auto first = walk(*method, 7, start, two_points);
    EXPECT_TRUE(torch::equal(walk(*method, 7, start, two_points), first)) << name;
  }
}

TEST(BetaQuantile, IsTheArcSineOfTwoHalvesAndTheInverseOfItsShare) {
  for (const double share : {0.001, 0.2, 0.5, 0.77, 0.9999}) {
    const double root = std::sin(std::numbers::pi / 2 * share);
    EXPECT_NEAR(beta_quantile(share, 0.5, 0.5), root * root, 1e-12);
    EXPECT_NEAR(beta_share(beta_quantile(share, 0.6, 0.6), 0.6, 0.6), share, 1e-12);
    EXPECT_NEAR(beta_quantile(share, 1.0, 1.0), share, 1e-12);
  }
}

TEST(SchedulerNames, AllFourLanguagesMeanTheSame) {
  const auto name = [](const char* text) -> std::string {
    const auto found = find_scheduler(text);
    return found ? found->entry->name : "nothing";
  };
  for (const auto& entry : scheduler_table()) {
    EXPECT_EQ(name(entry.name), entry.name);
    for (const std::string other : {entry.a1111, entry.comfyui, entry.class_name}) {
      const bool shared = other == "DPMSolverMultistepScheduler";
      if (!other.empty() && !shared) {
        EXPECT_EQ(name(other.c_str()), entry.name);
      }
    }
  }
  EXPECT_EQ(name("k_euler_a"), "euler_a");
  EXPECT_EQ(name("dpmpp_2m_sde_gpu"), "dpm++2m_sde");
  EXPECT_EQ(name("dpmsolver++"), "dpm++");
  EXPECT_EQ(name("DPM++ 2S a Karras"), "dpm++2s_a");
  EXPECT_EQ(find_scheduler("DPM++ 2S a Karras")->sigmas, "karras");
  EXPECT_TRUE(find_scheduler("DPM++ 2M SDE Heun")->heun);
  EXPECT_EQ(name("DDIM Karras"), "nothing");
  EXPECT_EQ(name("dpmpp_2m_k"), "dpm++");  // InvokeAI's
  EXPECT_EQ(find_scheduler("dpmpp_2m_sde_k")->sigmas, "karras");
  EXPECT_EQ(name("kdpm_2_a_k"), "dpm2_a");
  EXPECT_EQ(name("kdpm_2"), "dpm2");
  EXPECT_EQ(name("ddim_k"), "nothing");
  EXPECT_EQ(name("dpm fast"), "nothing");
}

/// The names in each column of the list's table whose header begins with `first`.
std::vector<std::vector<std::string>> columns_of_list(const std::string& first,
                                                      std::size_t columns) {
  std::istringstream list(scheduler_list());
  std::string line;
  while (std::getline(list, line) && !line.starts_with(first)) {
  }
  std::vector<std::size_t> begins;
  for (std::size_t at = 0; begins.size() < columns; ++at) {
    if (line[at] != ' ' && (at == 0 || line[at - 1] == ' ')) begins.push_back(at);
  }
  std::vector<std::vector<std::string>> names(columns);
  while (std::getline(list, line) && !line.empty()) {
    for (std::size_t i = 0; i < columns; ++i) {
      const auto end = i + 1 < columns ? begins[i + 1] : line.find("  ", begins[i]);
      names[i].push_back(trimmed(line.substr(begins[i], end - begins[i])));
    }
  }
  return names;
}

TEST(SchedulerNames, EveryNameInTheListIsTaken) {
  std::size_t taken = 0;
  for (const auto& column : columns_of_list("--scheduler", 4)) {
    for (const auto& name : column) {
      if (name == "-") continue;
      EXPECT_NO_THROW(make_scheduler(name, kConfig)) << name;
      ++taken;
    }
  }
  EXPECT_GT(taken, 3 * scheduler_table().size());
  for (const auto& column : columns_of_list("--sigmas", 2)) {
    EXPECT_EQ(column.size(), sigma_grid_names().size() + 1);
    for (const auto& name : column) {
      for (const auto& spelled : {name, lower_ascii(name)}) {
        EXPECT_NO_THROW(make_scheduler("euler", kConfig, {.sigmas = spelled})) << spelled;
      }
    }
  }
}

TEST(SchedulerNames, AScheduleStandsInOneOfNameAndOptionOrInBothTheSame) {
  const auto sigmas = [](const char* name, const char* asked) {
    return sigmas_for(*find_scheduler(name), asked);
  };
  EXPECT_EQ(sigmas("Euler Karras", ""), "karras");
  EXPECT_EQ(sigmas("Euler Karras", "Karras"), "karras");
  EXPECT_EQ(sigmas("Euler Karras", "Automatic"), "karras");  // as A1111
  EXPECT_EQ(sigmas("Euler", "Automatic"), "normal");
  for (const char* name : {"Euler Karras", "dpmpp_2m_sde_k", "uni_pc karras", "dpmpp_3m_k"}) {
    const auto message = message_of(
        ErrorKind::kUsage, [&] { make_scheduler(name, kConfig, {.sigmas = "exponential"}); });
    EXPECT_THAT(message, HasSubstr("asks for karras")) << name;
    EXPECT_THAT(message, HasSubstr(find_scheduler(name)->name())) << name;
  }
}

TEST(SchedulerNames, FormsKeepTheirsBesideSigmas) {
  for (const char* name : {"uni_pc", "DPM++ 2M SDE Heun", "dpmpp_3m", "euler_a", "dpm++"}) {
    const auto found = find_scheduler(name + std::string(" Karras"));
    ASSERT_TRUE(found) << name;
    EXPECT_EQ(found->name(), name);
    EXPECT_EQ(found->sigmas, "karras");
    EXPECT_EQ(find_scheduler(found->name())->name(), name);
  }
  EXPECT_TRUE(find_scheduler("UNI_PC Karras")->bh1);
}

TEST(SchedulerNames, OfInvokeAiAreTakenButForThoseThatAreNotHere) {
  for (const char* name :
       {"ddim",     "ddpm",       "lms",       "lms_k",       "pndm",         "heun",
        "heun_k",   "euler",      "euler_k",   "euler_a",     "kdpm_2",       "kdpm_2_k",
        "kdpm_2_a", "kdpm_2_a_k", "dpmpp_2m",  "dpmpp_2m_k",  "dpmpp_2m_sde", "dpmpp_2m_sde_k",
        "dpmpp_3m", "dpmpp_3m_k", "dpmpp_sde", "dpmpp_sde_k", "unipc",        "unipc_k",
        "lcm",      "tcd"}) {
    EXPECT_NO_THROW(make_scheduler(name, kConfig)) << name;
  }
  for (const char* name : {"dpmpp_2s", "dpmpp_2s_k", "deis", "deis_k"}) {
    EXPECT_FALSE(find_scheduler(name)) << name;
    EXPECT_EQ(sigmas_in_name(name), std::string_view(name).ends_with("_k") ? "karras" : "");
  }
}

/// InvokeAI's dpmpp_3m is diffusers' class with solver_order 3.
TEST(MakeScheduler, ThirdOrderIsThatOfTheConfig) {
  auto config = kConfig;
  config["solver_order"] = 3;
  auto with_karras = config;
  with_karras["use_karras_sigmas"] = true;
  const auto end_of = [](const std::string& name, const Json& given) {
    const auto scheduler = make_scheduler(name, given);
    scheduler->set_timesteps(8);
    auto sample = torch::full({1, 4}, 0.7);
    const auto calls = static_cast<std::int64_t>(scheduler->timesteps().size());
    for (std::int64_t i = 0; i < calls; ++i) {
      sample = scheduler->step(sample.cos() * static_cast<double>(i + 1), i, sample);
    }
    return sample;
  };
  EXPECT_TRUE(torch::equal(end_of("dpmpp_3m", kConfig), end_of("dpm++", config)));
  EXPECT_FALSE(torch::equal(end_of("dpmpp_3m", kConfig), end_of("dpm++", kConfig)));
  EXPECT_TRUE(torch::equal(end_of("dpmpp_3m_k", kConfig), end_of("dpm++", with_karras)));
  EXPECT_THAT(message_of(ErrorKind::kUsage,
                         [&] { make_scheduler("dpmpp_3m", kConfig, {.sigmas = "beta"}); }),
              HasSubstr("karras alone"));
}

TEST(SchedulerNames, AListNamesAllAndAnErrorTheNearest) {
  for (const auto& name : scheduler_names()) EXPECT_THAT(scheduler_list(), HasSubstr(name));
  EXPECT_THAT(message_of(ErrorKind::kUsage, [] { check_scheduler_name("unipic", "--scheduler"); }),
              HasSubstr("unipc"));
}

TEST(MakeScheduler, TakesSigmasWhereThereAreAny) {
  const auto make = [](const char* name, SchedulerOptions options) {
    return make_scheduler(name, kConfig, options);
  };
  for (const auto& entry : scheduler_table()) {
    if (*entry.method == '\0') {
      const auto message =
          message_of(ErrorKind::kUsage, [&] { make(entry.name, {.sigmas = "karras"}); });
      EXPECT_THAT(message, HasSubstr("timesteps"));
      continue;
    }
    for (const auto& grid : sigma_grid_names()) {
      const auto scheduler = make(entry.name, {.sigmas = grid.name});
      scheduler->set_timesteps(10);
      EXPECT_GE(scheduler->timesteps().size(), 10U);
    }
    EXPECT_NO_THROW(make(entry.name, {.sigmas = "automatic"}));
  }
  EXPECT_THAT(message_of(ErrorKind::kUsage, [&] { make("euler", {.sigmas = "karas"}); }),
              HasSubstr("karras"));
}

TEST(MakeScheduler, GivesFreshNoiseToThoseThatHaveIt) {
  const auto make = [](const char* name, double eta) {
    return make_scheduler(name, kConfig, {.ancestral_eta = eta});
  };
  EXPECT_NO_THROW(make("tcd", 0.0));
  EXPECT_NO_THROW(make("dpm++2m_sde", 0.5));
  EXPECT_THAT(message_of(ErrorKind::kUsage, [&] { make("heun", 0.5); }), HasSubstr("heun"));
  EXPECT_THAT(message_of(ErrorKind::kUsage, [&] { make("euler_a", 1.5); }), HasSubstr("0 to 1"));
}

TEST(FewSteps, AreThoseOfTheDistillationAndNoMore) {
  const auto lcm = make_scheduler("lcm", kConfig);
  lcm->set_timesteps(4);
  EXPECT_THAT(lcm->timesteps(), testing::ElementsAre(999, 759, 499, 259));
  EXPECT_THAT(message_of(ErrorKind::kUsage, [&] { lcm->set_timesteps(51); }), HasSubstr("50"));
}

}  // namespace
}  // namespace mos::diffusion
