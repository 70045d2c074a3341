#pragma once

#include "mos/train/ahead.h"
#include "mos/train/draws.h"
#include "mos/train/loop.h"
#include "mos/train/order.h"

/// What pretraining takes from the training hall.
namespace mos::pretrain {

using train::Ahead;
using train::averaged_weights;
using train::checkpoint_step;
using train::device_of;
using train::EpochOrder;
using train::FlatAdamW;
using train::FlatAdamWOptions;
using train::generator_of_step;
using train::learning_rate_at;
using train::made_ahead;
using train::on_device;
using train::run_training;
using train::ScopedAverage;
using train::Share;
using train::shared_losses;
using train::TrainingRun;
using train::TrainOptions;
using train::worker_count;

}  // namespace mos::pretrain
