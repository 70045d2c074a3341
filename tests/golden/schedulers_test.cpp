#include <gtest/gtest.h>
#include <torch/types.h>

#include <algorithm>
#include <memory>
#include <string>

#include "mos/base/file.h"
#include "mos/diffusion/euler.h"
#include "mos/diffusion/scheduler.h"
#include "mos/io/safetensors.h"
#include "tests/support/golden.h"

namespace mos {
namespace {

using diffusion::make_scheduler;
using diffusion::NoiseSource;
using diffusion::Scheduler;

/// The reference computes in float32 and keeps no float64 twin of its schedulers. One step is a
/// handful of float32 operations on coefficients that are themselves float32 (differences of
/// logarithms, exponentials minus one), hence 1e-5 of the largest value; over a whole trajectory
/// the network's answer to such a difference comes on top.
constexpr double kStepTolerance = 1e-5;
constexpr double kTrajectoryTolerance = 5e-5;

class GoldenSchedulers : public testing::Test {
 protected:
  void SetUp() override {
    const auto why = golden::missing({"schedulers.safetensors", "schedulers_configs.json"});
    if (!why.empty()) GTEST_SKIP() << why;
    file_ = std::make_unique<io::SafetensorsFile>(*golden::find("schedulers.safetensors"));
    configs_ = diffusion::parse_config(read_text_file(*golden::find("schedulers_configs.json")),
                                       "schedulers_configs.json");
  }

  torch::Tensor get(const std::string& name) const { return file_->get(name).clone(); }

  std::unique_ptr<Scheduler> make(const std::string& variant, double eta = 0.0) const {
    const auto& entry = configs_.at(variant);
    return make_scheduler(entry.at("cls"), entry.at("effective"), {.eta = eta});
  }

  /// Calls `check(scheduler, steps, "<variant>.<steps>.")` for every case in the file.
  template <typename Check>
  void for_each_case(Check check) const {
    for (const auto& [variant, entry] : configs_.items()) {
      for (const std::int64_t steps : entry.at("N")) {
        const auto prefix = variant + "." + std::to_string(steps) + ".";
        SCOPED_TRACE(prefix);
        if (!file_->contains(prefix + "timesteps")) continue;
        auto scheduler = make(variant);
        scheduler->set_timesteps(steps);
        check(*scheduler, prefix);
      }
    }
  }

  /// The stand-in for a network that the reference used.
  torch::Tensor model(const torch::Tensor& input, double timestep) const {
    return torch::tanh(input) * (0.3 + 0.5 * timestep / 1000.0) + 0.4 * get("base");
  }

  /// Largest difference relative to the largest expected value.
  static double relative(const torch::Tensor& actual, const torch::Tensor& expected) {
    const double scale = std::max(1.0, expected.abs().max().item<double>());
    return golden::max_abs_difference(actual, expected) / scale;
  }

  std::unique_ptr<io::SafetensorsFile> file_;
  Json configs_;
};

TEST_F(GoldenSchedulers, TimestepsAreTheReferenceOnes) {
  for_each_case([this](const Scheduler& scheduler, const std::string& prefix) {
    const auto expected = get(prefix + "timesteps");
    const auto actual = torch::tensor(scheduler.timesteps(), torch::kFloat64);
    EXPECT_LT(golden::max_abs_difference(actual, expected), 1e-6);
  });
}

TEST_F(GoldenSchedulers, NoiseLevelsAreTheReferenceOnes) {
  for_each_case([this](const Scheduler& scheduler, const std::string& prefix) {
    const double sigma = std::stod(file_->metadata().at(prefix + "init_noise_sigma"));
    EXPECT_NEAR(scheduler.init_noise_sigma(), sigma, kStepTolerance * sigma);
    if (!file_->contains(prefix + "sigmas")) return;
    const auto expected = get(prefix + "sigmas").to(torch::kFloat32);
    if (const auto* euler = dynamic_cast<const diffusion::EulerDiscreteScheduler*>(&scheduler)) {
      EXPECT_LT(relative(torch::tensor(euler->sigmas()), expected), kStepTolerance);
    } else if (expected.size(0) == scheduler.noise_schedule().size()) {
      EXPECT_LT(relative(scheduler.noise_schedule().sigmas(), expected), kStepTolerance);
    }
  });
}

TEST_F(GoldenSchedulers, EveryStepFromTheReferenceStateIsTheReferenceStep) {
  for_each_case([this](Scheduler& scheduler, const std::string& prefix) {
    const auto inputs = get(prefix + "model_in");
    const auto outputs = get(prefix + "model_out");
    const auto previous = get(prefix + "prev_sample");
    auto sample = get("init") * scheduler.init_noise_sigma();
    for (std::int64_t i = 0; i < previous.size(0); ++i) {
      const auto input = scheduler.scale_model_input(sample, i);
      EXPECT_LT(relative(input, inputs.slice(0, i, i + 1)), kStepTolerance) << "step " << i;
      const auto next = scheduler.step(outputs.slice(0, i, i + 1), i, sample);
      EXPECT_LT(relative(next, previous.slice(0, i, i + 1)), kStepTolerance) << "step " << i;
      sample = previous.slice(0, i, i + 1);
    }
  });
}

TEST_F(GoldenSchedulers, WholeTrajectoriesStayWithTheReference) {
  for_each_case([this](Scheduler& scheduler, const std::string& prefix) {
    const auto previous = get(prefix + "prev_sample");
    auto sample = get("init") * scheduler.init_noise_sigma();
    for (std::int64_t i = 0; i < previous.size(0); ++i) {
      const double timestep = scheduler.timesteps()[static_cast<std::size_t>(i)];
      const auto output = model(scheduler.scale_model_input(sample, i), timestep);
      sample = scheduler.step(output, i, sample);
      EXPECT_LT(relative(sample, previous.slice(0, i, i + 1)), kTrajectoryTolerance)
          << "step " << i;
    }
  });
}

TEST_F(GoldenSchedulers, DdimWithGivenVarianceNoiseIsTheReference) {
  const std::string prefix = "ddim_eta07.10.";
  if (!file_->contains(prefix + "prev_sample") || !configs_.contains("ddim")) {
    GTEST_SKIP() << "no ddim_eta07 case in schedulers.safetensors";
  }
  auto scheduler = make("ddim", /*eta=*/0.7);
  const auto previous = get(prefix + "prev_sample");
  scheduler->set_timesteps(previous.size(0));
  auto sample = get("init") * scheduler->init_noise_sigma();
  for (std::int64_t i = 0; i < previous.size(0); ++i) {
    const NoiseSource noise(get(prefix + "variance_noise." + std::to_string(i)));
    const double timestep = scheduler->timesteps()[static_cast<std::size_t>(i)];
    sample = scheduler->step(model(sample, timestep), i, sample, noise);
    EXPECT_LT(relative(sample, previous.slice(0, i, i + 1)), kTrajectoryTolerance) << "step " << i;
  }
}

TEST_F(GoldenSchedulers, TheForwardProcessIsTheReferenceOne) {
  if (!file_->contains("ddpm.betas") || configs_.empty()) GTEST_SKIP() << "no ddpm.* tensors";
  const auto schedule =
      diffusion::NoiseSchedule::from_config(configs_.begin().value().at("effective"));
  EXPECT_LT(golden::max_abs_difference(schedule.betas(), get("ddpm.betas")), 1e-8);
  EXPECT_LT(golden::max_abs_difference(schedule.alphas_cumprod(), get("ddpm.alphas_cumprod")),
            1e-6);
  const auto original = get("ddpm.x0");
  const auto noise = get("ddpm.noise");
  const auto timesteps = get("ddpm.t");
  EXPECT_LT(relative(schedule.add_noise(original, noise, timesteps), get("ddpm.add_noise")), 1e-6);
  EXPECT_LT(relative(schedule.velocity(original, noise, timesteps), get("ddpm.velocity")), 1e-6);
}

}  // namespace
}  // namespace mos
