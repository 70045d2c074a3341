#include <gmock/gmock.h>
#include <torch/nn/module.h>
#include <torch/optim/adamw.h>

#include <filesystem>
#include <memory>

#include "mos/base/error.h"
#include "mos/base/random.h"
#include "mos/nn/linear.h"
#include "mos/pretrain/initialise.h"
#include "mos/pretrain/trainer.h"
#include "mos/train/flat_adamw.h"
#include "tests/support/temp_dir.h"

namespace mos::pretrain {
namespace {

using torch::Tensor;

/// Two layers that learn a fixed function.
struct TinyModule : torch::nn::Module {
  TinyModule() {
    first = register_module("first", nn::Linear(6, 16));
    second = register_module("second", nn::Linear(16, 3));
    auto generator = seeded_generator(5);
    initialise_network(*this, generator);
  }
  Tensor forward(const Tensor& x) { return second(torch::tanh(first(x))); }
  nn::Linear first{nullptr}, second{nullptr};
};

Tensor loss_of(TinyModule& module, std::int64_t step) {
  auto generator = generator_of_step(3, step);
  const auto x = mos::randn({32, 6}, generator);
  const auto target = torch::sin(x.narrow(1, 0, 3) * 2.0);
  return (module.forward(x) - target).square().mean();
}

TrainingRun run_of(TinyModule& module, const std::filesystem::path& folder, std::int64_t steps) {
  TrainOptions options{.steps = steps, .learning_rate = 2e-2, .warmup = 5};
  return {.stage = "test", .folder = folder, .options = options, .losses = {[&](std::int64_t step) {
                                                                   return loss_of(module, step);
                                                                 }}};
}

double largest_difference(const io::StateDict& a, const io::StateDict& b) {
  double largest = 0.0;
  for (const auto& [name, tensor] : a) {
    largest = std::max(largest, (tensor - b.at(name)).abs().max().item<double>());
  }
  return largest;
}

TEST(FlatAdamW, EqualsTorchAdamW) {
  TinyModule ours, theirs;
  FlatAdamW optimizer(ours, {.weight_decay = 0.1, .max_norm = 0.0});
  std::vector<Tensor> matrices, vectors;
  for (auto& p : theirs.parameters()) (p.dim() > 1 ? matrices : vectors).push_back(p);
  torch::optim::AdamW with_decay(matrices, torch::optim::AdamWOptions(1e-2).weight_decay(0.1));
  torch::optim::AdamW without_decay(vectors, torch::optim::AdamWOptions(1e-2).weight_decay(0.0));
  for (std::int64_t step = 0; step < 20; ++step) {
    loss_of(ours, step).backward();
    optimizer.step(1e-2);
    for (auto* optim : {&with_decay, &without_decay}) optim->zero_grad();
    loss_of(theirs, step).backward();
    for (auto* optim : {&with_decay, &without_decay}) optim->step();
  }
  EXPECT_LT(largest_difference(io::state_dict_of(ours), io::state_dict_of(theirs)), 2e-6);
}

TEST(FlatAdamW, OperatorsAndOwnPassesAgree) {
  using Passes = FlatAdamWOptions::Passes;
  TinyModule own, operators;
  FlatAdamW a(own, {.weight_decay = 0.1, .average = 0.9, .passes = Passes::kOwn});
  FlatAdamW b(operators, {.weight_decay = 0.1, .average = 0.9, .passes = Passes::kOperators});
  TinyModule own_replica, operators_replica;
  a.add_replica(own_replica);
  b.add_replica(operators_replica);
  for (std::int64_t step = 0; step < 20; ++step) {
    loss_of(own, 2 * step).backward();
    loss_of(own_replica, 2 * step + 1).backward();
    loss_of(operators, 2 * step).backward();
    loss_of(operators_replica, 2 * step + 1).backward();
    EXPECT_NEAR(a.step(1e-2), b.step(1e-2), 1e-5);
  }
  EXPECT_LT(largest_difference(a.state(), b.state()), 2e-6);
}

TEST(FlatAdamW, ClipsTheGradientToItsNorm) {
  TinyModule module;
  FlatAdamW optimizer(module, {.max_norm = 1e-3});
  (1000.0 * loss_of(module, 0)).backward();
  const double norm = optimizer.step(0.0);
  EXPECT_GT(norm, 1.0);
  double square = 0.0;
  for (const auto& [name, tensor] : optimizer.state()) {
    if (name.starts_with("moment1/")) square += (tensor / 0.1).square().sum().item<double>();
  }
  EXPECT_NEAR(std::sqrt(square), 1e-3, 1e-6);
}

TEST(FlatAdamW, TrainsOnlyWhatItIsTold) {
  TinyModule module;
  const auto before = module.first->weight.clone();
  FlatAdamW optimizer(module, {}, [](const std::string& n) { return n.starts_with("second."); });
  loss_of(module, 0).backward();
  optimizer.step(1e-2);
  EXPECT_TRUE(torch::equal(before, module.first->weight));
  EXPECT_FALSE(module.first->weight.requires_grad());
}

TEST(FlatAdamW, WorkingCopiesAreTheRoundedValues) {
  TinyModule module;
  FlatAdamW optimizer(module, {.working_dtype = torch::kBFloat16});
  EXPECT_EQ(module.first->weight.scalar_type(), torch::kBFloat16);
  auto generator = seeded_generator(8);
  const auto x = mos::randn({32, 6}, generator).to(torch::kBFloat16);
  const auto loss = [&] { return module.forward(x).to(torch::kFloat32).square().mean(); };
  const double before = loss().item<double>();
  for (int step = 0; step < 50; ++step) {
    loss().backward();
    optimizer.step(1e-2);
  }
  EXPECT_LT(loss().item<double>(), 0.1 * before);
  const auto values = optimizer.state().at("value/first.weight");
  EXPECT_EQ(values.scalar_type(), torch::kFloat32);
  EXPECT_TRUE(torch::equal(module.first->weight, values.to(torch::kBFloat16)));
}

TEST(FlatAdamW, TheAverageIsInPlaceWhileScoped) {
  TinyModule module;
  FlatAdamW optimizer(module, {.average = 0.9});
  for (std::int64_t step = 0; step < 5; ++step) {
    loss_of(module, step).backward();
    optimizer.step(1e-2);
  }
  const auto current = module.first->weight.clone();
  const auto average = optimizer.state().at("average/first.weight").clone();
  {
    const ScopedAverage scope(optimizer);
    EXPECT_TRUE(torch::equal(module.first->weight, average));
  }
  EXPECT_TRUE(torch::equal(module.first->weight, current));
  EXPECT_FALSE(torch::equal(average, current));
}

TEST(FlatAdamW, ReplicasShareWeightsAndAddGradients) {
  TinyModule whole, first, second;
  FlatAdamW alone(whole, {});
  FlatAdamW together(first, {});
  together.add_replica(second);
  for (std::int64_t step = 0; step < 10; ++step) {
    (loss_of(whole, 2 * step) + loss_of(whole, 2 * step + 1)).backward();
    loss_of(first, 2 * step).backward();
    loss_of(second, 2 * step + 1).backward();
    EXPECT_NEAR(alone.step(1e-2), together.step(1e-2), 1e-5);
  }
  EXPECT_LT(largest_difference(io::state_dict_of(whole), io::state_dict_of(first)), 2e-6);
  EXPECT_TRUE(torch::equal(first.second->weight, second.second->weight));
}

TEST(Training, CompanionLearnsAlongAndIsResumed) {
  const TempDir folder;
  const auto companion_after = [&](std::int64_t first, std::int64_t second) {
    std::filesystem::remove_all(folder.path());
    io::StateDict state;
    for (const auto steps : {first, second}) {
      if (steps == 0) continue;
      TinyModule module, other;
      FlatAdamW optimizer(module, {}), companion(other, {});
      auto run = run_of(module, folder.path(), steps);
      run.options.steps = steps;
      run.options.final_rate = 1.0;  // so that the plans of both runs agree
      run.losses = {[&](std::int64_t step) {
        (0.5 * loss_of(other, step + 100)).backward();
        return loss_of(module, step);
      }};
      run.companion = &companion;
      run_training(optimizer, run);
      state = companion.state();
      for (auto& [name, tensor] : state) tensor = tensor.clone();
    }
    return state;
  };
  EXPECT_LT(largest_difference(companion_after(0, 12), companion_after(5, 12)), 1e-7);
}

TEST(Training, WorkersOnSharesLearnWhatOneWorkerLearns) {
  struct SharedLoss {
    std::shared_ptr<TinyModule> module;
    Share share;
    Tensor operator()(std::int64_t step) const {
      auto generator = generator_of_step(3, step);
      const auto x = share.part(mos::randn({32, 6}, generator));
      return (module->forward(x) - torch::sin(x.narrow(1, 0, 3) * 2.0)).square().mean();
    }
  };
  const auto learn = [](std::int64_t workers) {
    const TempDir dir;
    const auto module = std::make_shared<TinyModule>();
    FlatAdamW optimizer(*module, {});
    const TrainOptions options{
        .steps = 30, .batch = 32, .learning_rate = 2e-2, .warmup = 5, .workers = workers};
    const auto replica = [&] {
      const auto copy = std::make_shared<TinyModule>();
      optimizer.add_replica(*copy);
      return copy;
    };
    run_training(optimizer, {.stage = "test",
                             .folder = dir.path(),
                             .options = options,
                             .losses = shared_losses(SharedLoss{module, {}}, &SharedLoss::module,
                                                     replica, options)});
    return io::state_dict_of(*module);
  };
  const auto one = learn(1);
  EXPECT_LT(largest_difference(one, learn(2)), 1e-4);
  EXPECT_EQ(largest_difference(learn(2), learn(3)), 0.0);  // 32 pictures do not divide by 3
}

TEST(Training, LossDecreases) {
  const TempDir dir;
  TinyModule module;
  FlatAdamW optimizer(module, {});
  const double before = loss_of(module, 1000).item<double>();
  run_training(optimizer, run_of(module, dir.path(), 400));
  EXPECT_LT(loss_of(module, 1000).item<double>(), 0.5 * before);
}

TEST(Training, ResumedEqualsUninterrupted) {
  const TempDir dir;
  TinyModule whole, resumed;
  FlatAdamW whole_optimizer(whole, {});
  run_training(whole_optimizer, run_of(whole, dir.path() / "whole", 40));
  {
    CancelToken cancel;
    TinyModule first;
    FlatAdamW optimizer(first, {});
    auto run = run_of(first, dir.path() / "part", 40);
    run.cancel = &cancel;
    run.progress = [&cancel](const Progress& p) {
      if (p.step == 17) cancel.cancel();
    };
    EXPECT_THROW(run_training(optimizer, run), Error);
  }
  EXPECT_EQ(checkpoint_step(dir.path() / "part"), 17);
  FlatAdamW resumed_optimizer(resumed, {});
  run_training(resumed_optimizer, run_of(resumed, dir.path() / "part", 40));
  EXPECT_EQ(largest_difference(whole_optimizer.state(), resumed_optimizer.state()), 0.0);
}

TEST(Training, TheCheckpointOfAnotherModelIsRefused) {
  const TempDir dir;
  TinyModule module;
  FlatAdamW optimizer(module, {});
  auto state = optimizer.state();
  state.erase("moment1/second.bias");
  EXPECT_THROW(optimizer.load_state(state, 3), Error);
}

TEST(LearningRate, WarmsUpAndFallsToItsFinalShare) {
  const TrainOptions options{
      .steps = 1000, .learning_rate = 1.0, .warmup = 100, .final_rate = 0.05};
  EXPECT_DOUBLE_EQ(learning_rate_at(options, 0), 0.01);
  EXPECT_DOUBLE_EQ(learning_rate_at(options, 99), 1.0);
  EXPECT_NEAR(learning_rate_at(options, 550), 0.525, 1e-9);
  EXPECT_NEAR(learning_rate_at(options, 1000), 0.05, 1e-9);
}

TEST(EpochOrder, VisitsEveryPictureOnceInAnEpoch) {
  EpochOrder order(10, 1);
  std::vector<std::int64_t> seen;
  for (std::int64_t step = 0; step < 5; ++step) {
    const auto batch = order.batch(step, 4);
    for (std::int64_t i = 0; i < 4; ++i) seen.push_back(batch[i].item<std::int64_t>());
  }
  std::vector<std::int64_t> first(seen.begin(), seen.begin() + 10);
  std::vector<std::int64_t> second(seen.begin() + 10, seen.end());
  EXPECT_THAT(first, testing::UnorderedElementsAre(0, 1, 2, 3, 4, 5, 6, 7, 8, 9));
  EXPECT_THAT(second, testing::UnorderedElementsAreArray(first));
  EXPECT_NE(first, second);
  EpochOrder resumed(10, 1);
  EXPECT_EQ(resumed.batch(3, 4)[1].item<std::int64_t>(), seen[13]);
}

}  // namespace
}  // namespace mos::pretrain
