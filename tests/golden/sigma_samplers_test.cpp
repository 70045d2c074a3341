#include <gtest/gtest.h>
#include <torch/types.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include "mos/base/json.h"
#include "mos/diffusion/scheduler.h"
#include "tests/support/golden.h"

/// Trajectories of diffusers' schedulers and of k-diffusion's samplers; make_sigma_samplers.py has
/// made them.
namespace mos {
namespace {

using diffusion::make_scheduler;
using diffusion::NoiseSource;
using torch::Tensor;

using Numbers = std::vector<double>;

Tensor as_tensor(const Numbers& numbers, torch::ScalarType dtype) {
  return torch::tensor(numbers, torch::kFloat64).view({1, 4, 1, 1}).to(dtype);
}

class GoldenSigmaSamplers : public testing::Test {
 protected:
  void SetUp() override {
    const auto why = golden::missing({"sigma_samplers.json"});
    if (!why.empty()) GTEST_SKIP() << why;
    file_ = read_json_file(*golden::find("sigma_samplers.json"));
  }

  Numbers numbers(const char* key) const { return file_.at(key).get<Numbers>(); }

  /// The stand-in for a network that the reference used.
  Tensor network(const Tensor& input, double timestep) const {
    const auto base = as_tensor(numbers("base"), input.scalar_type());
    return torch::tanh(input) * (0.3 + 0.5 * timestep / 1000.0) + 0.4 * base;
  }

  /// The reference's draws, one after the other.
  NoiseSource noise() const {
    return NoiseSource([rows = file_.at("noise").get<std::vector<Numbers>>(),
                        used = std::size_t{0}](const Tensor& sample) mutable {
      return as_tensor(rows.at(used++), sample.scalar_type());
    });
  }

  Json file_;
};

TEST_F(GoldenSigmaSamplers, FollowDiffusersStepByStep) {
  // The reference keeps its levels and coefficients in float32, we in float64.
  constexpr double kTolerance = 3e-5;
  for (const auto& entry : file_.at("diffusers")) {
    SCOPED_TRACE(entry.at("scheduler").get<std::string>() + entry.at("config").dump());
    const auto scheduler = make_scheduler(entry.at("scheduler"), entry.at("config"));
    scheduler->set_timesteps(entry.at("steps"));
    const auto expected_timesteps = entry.at("timesteps").get<Numbers>();
    ASSERT_EQ(scheduler->timesteps().size(), expected_timesteps.size());
    const double first = entry.at("init_noise_sigma");
    EXPECT_NEAR(scheduler->init_noise_sigma(), first, 1e-5 * first);

    const auto source = noise();
    auto sample = as_tensor(numbers("init"), torch::kFloat32) * scheduler->init_noise_sigma();
    for (std::size_t i = 0; i < expected_timesteps.size(); ++i) {
      EXPECT_NEAR(scheduler->timesteps()[i], expected_timesteps[i], 2e-3) << "step " << i;
      const auto index = static_cast<std::int64_t>(i);
      const auto input = scheduler->scale_model_input(sample, index);
      const auto output = network(input, scheduler->timesteps()[i]);
      sample = scheduler->step(output, index, sample, source);
      const auto expected = as_tensor(entry.at("samples")[i].get<Numbers>(), torch::kFloat32);
      const double scale = std::max(1.0, expected.abs().max().item<double>());
      EXPECT_LT((sample - expected).abs().max().item<double>(), kTolerance * scale) << "step " << i;
    }
  }
}

TEST_F(GoldenSigmaSamplers, EndWhereKDiffusionEndsInFloat64) {
  for (const auto& entry : file_.at("k_diffusion")) {
    const std::string name = entry.at("scheduler"), sigmas = entry.at("sigmas_name");
    SCOPED_TRACE(name + " " + sigmas);
    const auto scheduler = make_scheduler(name, entry.at("config"), {.sigmas = sigmas});
    scheduler->set_timesteps(entry.at("steps"));
    // LibTorch and numpy have cumulative products of their own in float32.
    const double first = entry.at("sigmas")[0];
    EXPECT_NEAR(scheduler->init_noise_sigma(), first, 2e-6 * first);
    const auto source = noise();
    auto sample = as_tensor(numbers("init"), torch::kFloat64) * scheduler->init_noise_sigma();
    for (std::size_t i = 0; i < scheduler->timesteps().size(); ++i) {
      const auto index = static_cast<std::int64_t>(i);
      const auto output =
          network(scheduler->scale_model_input(sample, index), scheduler->timesteps()[i]);
      sample = scheduler->step(output, index, sample, source);
    }
    const auto expected = as_tensor(entry.at("result").get<Numbers>(), torch::kFloat64);
    // What is left is the float32 of the table of levels, which few steps carry on.
    EXPECT_LT((sample - expected).abs().max().item<double>(), 2e-5);
  }
}

}  // namespace
}  // namespace mos
