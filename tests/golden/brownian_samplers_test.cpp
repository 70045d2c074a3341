#include <gtest/gtest.h>
#include <torch/types.h>

#include <cmath>
#include <string>
#include <vector>

#include "mos/base/json.h"
#include "mos/base/random.h"
#include "mos/diffusion/brownian_tree.h"
#include "mos/diffusion/scheduler.h"
#include "tests/support/golden.h"

/// Paths of torchsde's BrownianTree and k-diffusion's SDE samplers on them;
/// make_brownian_samplers.py has made them.
namespace mos {
namespace {

using diffusion::BrownianTree;
using torch::Tensor;

using Numbers = std::vector<double>;
using Shape = std::vector<std::int64_t>;

Tensor as_tensor(const Numbers& numbers) {
  return torch::tensor(numbers, torch::kFloat64).to(torch::kFloat32);
}

Tensor cpu_randn(std::uint64_t seed, at::IntArrayRef shape) {
  auto generator = seeded_generator(seed);
  return randn(shape, generator);
}

double distance(const Tensor& a, const Tensor& b) { return (a - b).abs().max().item<double>(); }

class GoldenBrownianSamplers : public testing::Test {
 protected:
  void SetUp() override {
    const auto why = golden::missing({"brownian_samplers.json"});
    if (!why.empty()) GTEST_SKIP() << why;
    file_ = read_json_file(*golden::find("brownian_samplers.json"));
    shape_ = file_.at("shape").get<Shape>();
  }

  Tensor picture(const Json& numbers) const {
    Shape shape = {1};
    shape.insert(shape.end(), shape_.begin(), shape_.end());
    return as_tensor(numbers.get<Numbers>()).view(shape);
  }

  Json file_;
  Shape shape_;
};

TEST_F(GoldenBrownianSamplers, SeedsAreHashedAsNumpyDoes) {
  for (const auto& entry : file_.at("words")) {
    const auto expected = entry.at("words").get<std::vector<std::uint32_t>>();
    const auto key = entry.at("spawn_key").get<std::vector<std::uint32_t>>();
    EXPECT_EQ(diffusion::seed_words(entry.at("entropy"), key, expected.size()), expected);
  }
}

TEST_F(GoldenBrownianSamplers, ASeedMeansTheSamePath) {
  for (const auto& entry : file_.at("trees")) {
    const BrownianTree tree(entry.at("seed"), {entry.at("low"), entry.at("high")},
                            [this](std::uint64_t seed) { return cpu_randn(seed, shape_); });
    const auto levels = entry.at("levels").get<Numbers>();
    EXPECT_EQ(tree.at(levels[0]).abs().max().item<double>(), 0.0);
    for (std::size_t i = 1; i < levels.size(); ++i) {
      const auto expected = as_tensor(entry.at("increments")[i - 1].get<Numbers>());
      const auto path = tree.at(levels[i]).flatten().slice(0, 0, expected.numel());
      EXPECT_LT(distance(path, expected), 1e-5) << levels[i];  // float32 sums in another order
    }
  }
}

TEST_F(GoldenBrownianSamplers, SdeSamplersEndWhereKDiffusionEndsWithThatSeed) {
  const auto base = picture(file_.at("base"));
  for (const auto& entry : file_.at("samplers")) {
    const std::string name = entry.at("scheduler"), sigmas = entry.at("sigmas_name");
    SCOPED_TRACE(name + " " + sigmas);
    const auto scheduler = diffusion::make_scheduler(
        name, {{"beta_start", 0.00085}, {"beta_end", 0.012}, {"beta_schedule", "scaled_linear"}},
        {.sigmas = sigmas});
    scheduler->set_timesteps(entry.at("steps"));
    const auto noise = diffusion::NoiseSource().with_path(
        diffusion::brownian_paths(entry.at("seed"), 1, cpu_randn));
    auto sample = picture(file_.at("init")) * scheduler->init_noise_sigma();
    for (std::size_t i = 0; i < scheduler->timesteps().size(); ++i) {
      const auto index = static_cast<std::int64_t>(i);
      const double t = scheduler->timesteps()[i];
      const auto seen = scheduler->scale_model_input(sample, index);
      const auto output = torch::tanh(seen) * (0.3 + 0.5 * t / 1000.0) + 0.4 * base;
      sample = scheduler->step(output, index, sample, noise);
    }
    // Two float32 tables of levels differ by 3e-5 at 14.6, over which a path goes √3e-5 = 5e-3.
    EXPECT_LT(distance(sample, picture(entry.at("result"))), 1e-2);
  }
}

TEST(BrownianPaths, ABatchHasThePathsOfItsPicturesAndSpansShareWhatTheyOverlap) {
  const auto both = diffusion::NoiseSource().with_path(diffusion::brownian_paths(7, 2, cpu_randn));
  const auto second =
      diffusion::NoiseSource().with_path(diffusion::brownian_paths(8, 1, cpu_randn));
  const auto sample = torch::zeros({2, 4, 8, 8}), one = torch::zeros({1, 4, 8, 8});
  const diffusion::NoiseSpan whole{10.0, 1.0, 0.1, 10.0}, first{10.0, 4.0, 0.1, 10.0},
      rest{4.0, 1.0, 0.1, 10.0};
  EXPECT_TRUE(torch::equal(both.over(whole, sample)[1], second.over(whole, one)[0]));
  const auto sum =
      std::sqrt(6.0) * both.over(first, sample) + std::sqrt(3.0) * both.over(rest, sample);
  EXPECT_LT(distance(sum, std::sqrt(9.0) * both.over(whole, sample)), 1e-5);
}

}  // namespace
}  // namespace mos
