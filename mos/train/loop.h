#pragma once

#include <torch/types.h>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>

#include "mos/base/counts.h"
#include "mos/base/json.h"
#include "mos/base/progress.h"
#include "mos/base/runtime.h"
#include "mos/base/stopwatch.h"
#include "mos/train/flat_adamw.h"

namespace mos::train {

/// What all trainings share. The plan is part of the run: a resumed run continues along the same
/// learning-rate curve unless it is given another one.
struct TrainOptions {
  std::int64_t steps = 1000;
  std::int64_t batch = 64;
  double learning_rate = 4e-4;
  std::int64_t warmup = 100;
  double final_rate = 0.05;
  double average = 0.999;
  double weight_decay = 0.01;
  std::int64_t seed = 1;
  double checkpoint_minutes = 3.0;
  double sheet_minutes = 15.0;  ///< Of this process's CPU time: a starved run measures no more.
  std::int64_t log_every = 25;
  /// Wall time of this run (TrainingRun::begun) after which the training ends as if all steps were
  /// done: the learning rate follows the share of it that is over, where that is ahead of the
  /// steps. 0: none.
  double minutes = 0.0;
  /// Threads that each work on a share of every batch, in a copy of the network with shared
  /// weights; 0: one for each core. With small networks this is faster than several threads for
  /// each operation.
  std::int64_t workers = 0;
};

template <class Visitor>
void describe(Visitor& visit, TrainOptions& options) {
  visit("steps", options.steps, "optimiser steps in all", count_of(1, kMostSteps));
  visit("batch", options.batch, "pictures for each step", count_of(1, kLargestBatch));
  visit("learning_rate", options.learning_rate, "highest learning rate", between(0, 1000));
  visit("warmup", options.warmup, "steps until the learning rate is reached",
        count_of(0, kMostSteps));
  visit("final_rate", options.final_rate, "share of the learning rate left at the end (cosine)",
        between(0, 1));
  visit("average", options.average, "decay of the running average of the weights", between(0, 1));
  visit("weight_decay", options.weight_decay, "AdamW's weight decay", between(0, 1000));
  visit("seed", options.seed, "start of all random numbers", count_of(0, kLargestSeed));
  visit("checkpoint_minutes", options.checkpoint_minutes, "time between checkpoints",
        between(0, kMostMinutes));
  visit("sheet_minutes", options.sheet_minutes, "CPU time between contact sheets and measurements",
        between(0, kMostMinutes));
  visit("log_every", options.log_every, "steps between lines of the log", count_of(1, kMostSteps));
  visit("minutes", options.minutes,
        "end after this time, the learning rate brought down by then; 0: after all steps",
        between(0, kMostMinutes));
  visit("workers", options.workers, "threads that share each batch; 0: one for each core",
        count_of(0, kMostThreads));
}

/// Linear warm-up, then half a cosine from learning_rate to final_rate · learning_rate. `step`
/// counts from 0.
double learning_rate_at(const TrainOptions& options, std::int64_t step);

/// The share of a batch that one of several workers computes.
struct Share {
  std::int64_t index = 0;
  std::int64_t of = 1;
  std::int64_t begin(std::int64_t count) const { return index * count / of; }
  /// The rows of `batch` [B, …] that are its own.
  torch::Tensor part(const torch::Tensor& batch) const {
    const auto count = batch.size(0);
    return batch.narrow(0, begin(count), (index + 1) * count / of - begin(count));
  }
};

/// How many workers `options` ask for on this machine: fewer where the batch would not divide.
std::int64_t worker_count(const TrainOptions& options);

/// Where a network's parameters are.
torch::Device device_of(const torch::nn::Module& network);

/// `options` for a network on `device`: a GPU takes whole batches, so it has one worker.
TrainOptions on_device(TrainOptions options, torch::Device device);

/// `loss` for each worker of `options`: the first with its own network, the others with the
/// replicas that `replica` makes, put at `network` (a member of Loss beside `Share share`).
template <class Loss, class Network, class MakeReplica>
std::vector<std::function<torch::Tensor(std::int64_t)>> shared_losses(const Loss& loss,
                                                                      Network Loss::*network,
                                                                      MakeReplica replica,
                                                                      const TrainOptions& options) {
  std::vector<std::function<torch::Tensor(std::int64_t)>> losses;
  const auto count = worker_count(options);
  for (std::int64_t i = 0; i < count; ++i) {
    auto own = loss;
    own.share = {.index = i, .of = count};
    if (i > 0) own.*network = replica();
    losses.emplace_back(std::move(own));
  }
  return losses;
}

struct TrainingRun {
  std::string stage;             ///< For messages.
  std::filesystem::path folder;  ///< Of checkpoint.safetensors and log.jsonl.
  TrainOptions options;

  /// The loss of one step (counted from 0), a scalar that requires gradients. With several
  /// functions each is called in a thread of its own, on its share of the batch and with a replica
  /// of the network (FlatAdamW::add_replica), and the loss of the step is their mean.
  std::vector<std::function<torch::Tensor(std::int64_t step)>> losses;

  /// Every sheet_minutes and at the end, with the averaged weights in place: measurements for the
  /// log. May be empty.
  std::function<Json(std::int64_t step)> measure;

  ProgressCallback progress;
  const CancelToken* cancel = nullptr;

  /// A second network that the losses train along, as a discriminator: updated after every step at
  /// the same learning rate, and saved in checkpoints. May be null.
  FlatAdamW* companion = nullptr;

  /// From when TrainOptions::minutes count: before whatever had to be made for the training.
  Stopwatch begun;
};

/// Continues from the checkpoint in the folder, if there is one, to options.steps. Writes a
/// checkpoint when cancelled, then throws kCancelled.
void run_training(FlatAdamW& optimizer, const TrainingRun& run);

/// Steps done according to the checkpoint in `folder`, or 0.
std::int64_t checkpoint_step(const std::filesystem::path& folder);

/// The averaged weights in the checkpoint of `folder`, by parameter name. Throws kIo when there is
/// none.
io::StateDict averaged_weights(const std::filesystem::path& folder);

}  // namespace mos::train
