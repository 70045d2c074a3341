#include "mos/train/loop.h"

#include <ATen/Parallel.h>
#include <fmt/core.h>
#include <torch/nn/module.h>

#include <algorithm>
#include <cmath>
#include <ctime>
#include <fstream>
#include <memory>
#include <numbers>
#include <numeric>

#include "mos/base/error.h"
#include "mos/base/file.h"
#include "mos/base/log.h"
#include "mos/base/random.h"
#include "mos/base/stopwatch.h"
#include "mos/base/text.h"
#include "mos/base/workers.h"
#include "mos/io/finite.h"
#include "mos/io/safetensors.h"

namespace mos::train {

using torch::Tensor;

namespace {

constexpr double kSmoothing = 0.98;           // of the loss that is shown
const std::string kCompanion = "companion/";  // prefix of the second optimiser's state

io::StateDict companion_of(const io::StateDict& state) {
  io::StateDict part;
  for (const auto& [name, tensor] : state) {
    if (name.starts_with(kCompanion)) part[name.substr(kCompanion.size())] = tensor;
  }
  return part;
}

std::filesystem::path checkpoint_path(const std::filesystem::path& folder) {
  return folder / "checkpoint.safetensors";
}

std::int64_t step_of(const io::SafetensorsFile& file) {
  const auto found = file.metadata().find("step");
  const auto step =
      found == file.metadata().end() ? std::nullopt : number_in<std::int64_t>(found->second);
  if (!step || *step < 0) {
    throw Error(ErrorKind::kFormat,
                file.path().string() + " is no training checkpoint: its metadata has no step");
  }
  return *step;
}

/// Seconds of the processor, of all threads.
double cpu_seconds() {
  timespec spent{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &spent);
  return static_cast<double>(spent.tv_sec) + 1e-9 * static_cast<double>(spent.tv_nsec);
}

/// One training in progress: when to log, to measure and to save.
class Loop {
 public:
  Loop(FlatAdamW& optimizer, const TrainingRun& run) : optimizer_(optimizer), run_(run) {
    if (run.losses.size() > 1) workers_ = std::make_unique<Workers>(run.losses.size());
  }

  void operator()() {
    make_folders(run_.folder);
    resume();
    const auto& options = run_.options;
    first_ = optimizer_.steps();
    for (auto step = first_; step < options.steps && planned(step) < options.steps; ++step) {
      if (run_.cancel != nullptr && run_.cancel->cancelled()) {
        save();
        run_.cancel->check();
      }
      take_step(step);
      if ((step + 1) % options.log_every == 0) log_line(step + 1, Json::object());
      if (clock_.seconds() - last_save_ > 60.0 * options.checkpoint_minutes) save();
      // By CPU time: on a shared machine a sheet shall cost a fixed part of the work.
      if (cpu_seconds() - last_sheet_ > 60.0 * options.sheet_minutes) measure(step + 1);
    }
    save();
    measure(optimizer_.steps());
  }

 private:
  void resume() {
    const auto path = checkpoint_path(run_.folder);
    if (!std::filesystem::exists(path)) return;
    const io::SafetensorsFile file(path);
    const auto state = io::load_safetensors(path);
    // A checkpoint of a run that went wrong, or of a failing disk, would be trained on for hours.
    for (const auto& [name, tensor] : state) io::check_finite(tensor, path.string(), name);
    optimizer_.load_state(state, step_of(file));
    if (run_.companion != nullptr) run_.companion->load_state(companion_of(state), step_of(file));
    log::info(fmt::format("{}: continuing after step {}", run_.stage, optimizer_.steps()));
  }

  void take_step(std::int64_t step) {
    const double value = losses(step);
    // Before the optimiser sees it: the last checkpoint is still good.
    if (!std::isfinite(value)) {
      throw Error(ErrorKind::kMismatch,
                  fmt::format("{}: the loss of step {} is {}; try a lower learning rate",
                              run_.stage, step, value));
    }
    const double rate = learning_rate_at(run_.options, planned(step));
    norm_ = optimizer_.step(rate);
    if (run_.companion != nullptr) run_.companion->step(rate);
    smoothed_ = std::isnan(smoothed_) ? value : kSmoothing * smoothed_ + (1 - kSmoothing) * value;
    if (run_.progress) {
      run_.progress({.stage = run_.stage,
                     .step = step + 1,
                     .total = run_.options.steps,
                     .loss = smoothed_,
                     .seconds = clock_.seconds()});
    }
  }

  /// The mean of all workers' losses, their gradients left in the replicas.
  double losses(std::int64_t step) {
    const auto count = run_.losses.size();
    std::vector<double> values(count);
    const auto work = [&](std::size_t i) {
      // The mean over workers, so that the rate means the same for any number of them.
      const auto loss = run_.losses[i](step) / static_cast<double>(count);
      loss.backward();
      // Read last: a GPU is given the backward pass while it still computes the forward one.
      values[i] = loss.item<double>();
    };
    if (workers_) {
      workers_->run(work);
    } else {
      work(0);
    }
    return std::accumulate(values.begin(), values.end(), 0.0);
  }

  /// The step of the plan that `step` is, later where time is short.
  std::int64_t planned(std::int64_t step) const {
    const auto& options = run_.options;
    if (options.minutes <= 0.0) return step;
    const double share = run_.begun.seconds() / (60.0 * options.minutes);
    return std::max(step, static_cast<std::int64_t>(share * static_cast<double>(options.steps)));
  }

  double seconds_per_step(std::int64_t done) const {
    return clock_.seconds() / static_cast<double>(std::max<std::int64_t>(1, done - first_));
  }

  void log_line(std::int64_t done, const Json& more) {
    Json line = {{"step", done},
                 {"loss", smoothed_},
                 {"gradient_norm", norm_},
                 {"learning_rate", learning_rate_at(run_.options, planned(done - 1))},
                 {"seconds_per_step", seconds_per_step(done)},
                 {"cpu_seconds", cpu_seconds()}};
    line.update(more);
    // Opened for each line: it may be read, or moved away, while the training goes on.
    std::ofstream(run_.folder / "log.jsonl", std::ios::app) << line.dump() << '\n';
  }

  void save() {
    auto state = optimizer_.state();
    if (run_.companion != nullptr) {
      for (const auto& [name, tensor] : run_.companion->state()) state[kCompanion + name] = tensor;
    }
    io::save_safetensors(checkpoint_path(run_.folder), state,
                         {{"step", std::to_string(optimizer_.steps())},
                          {"planned_steps", std::to_string(run_.options.steps)}});
    last_save_ = clock_.seconds();
  }

  void measure(std::int64_t done) {
    if (run_.measure) {
      const torch::NoGradGuard no_grad;
      // What is shown and measured is what will be exported.
      const ScopedAverage averaged(optimizer_);
      const Json figures = run_.measure(done);
      log::info(fmt::format("{} step {}: {}", run_.stage, done, figures.dump()));
      log_line(done, figures);
    }
    last_sheet_ = cpu_seconds();
  }

  FlatAdamW& optimizer_;
  const TrainingRun& run_;
  std::unique_ptr<Workers> workers_;
  Stopwatch clock_;
  std::int64_t first_ = 0;
  double smoothed_ = std::nan("");
  double norm_ = 0.0;
  double last_save_ = 0.0;
  double last_sheet_ = cpu_seconds();
};

}  // namespace

double learning_rate_at(const TrainOptions& options, std::int64_t step) {
  const auto s = static_cast<double>(step);
  const auto warmup = static_cast<double>(options.warmup);
  if (s < warmup) return options.learning_rate * (s + 1.0) / warmup;
  const auto span = std::max(1.0, static_cast<double>(options.steps) - warmup);
  const double progress = std::min(1.0, (s - warmup) / span);
  const double cosine = 0.5 * (1.0 + std::cos(std::numbers::pi * progress));
  return options.learning_rate * (options.final_rate + (1.0 - options.final_rate) * cosine);
}

std::int64_t worker_count(const TrainOptions& options) {
  auto count = options.workers > 0 ? options.workers : at::get_num_threads();
  // Shares of one size: no worker waits for a larger one.
  while (count > 1 && options.batch % count != 0) --count;
  return std::max<std::int64_t>(1, count);
}

torch::Device device_of(const torch::nn::Module& network) {
  return network.parameters().front().device();
}

TrainOptions on_device(TrainOptions options, torch::Device device) {
  if (!device.is_cpu()) options.workers = 1;
  return options;
}

void run_training(FlatAdamW& optimizer, const TrainingRun& run) { Loop(optimizer, run)(); }

std::int64_t checkpoint_step(const std::filesystem::path& folder) {
  const auto path = checkpoint_path(folder);
  return std::filesystem::exists(path) ? step_of(io::SafetensorsFile(path)) : 0;
}

io::StateDict averaged_weights(const std::filesystem::path& folder) {
  constexpr std::string_view kPrefix = "average/";
  io::StateDict result;
  for (const auto& [name, tensor] : io::load_safetensors(checkpoint_path(folder))) {
    if (name.starts_with(kPrefix)) result[name.substr(kPrefix.size())] = tensor;
  }
  return result;
}

}  // namespace mos::train
