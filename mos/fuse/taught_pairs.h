#pragma once

#include <torch/types.h>

#include <vector>

#include "mos/concepts/layer_update.h"
#include "mos/fuse/frozen_network.h"
#include "mos/nn/unet.h"
#include "mos/train/parameters.h"

/// The factors that distillation trains.
namespace mos::fuse {

/// Updates in what is trained and what stays.
struct SplitUpdates {
  concepts::LayerUpdates pairs;  ///< In memory of their own, float32 on the network's device.
  concepts::LayerUpdates rest;   ///< What changes in biases, and what is no pair.

  SplitUpdates(const concepts::LayerUpdates& updates, torch::Device device);

  /// `updates` with the pairs as they are now.
  concepts::LayerUpdates put_back(concepts::LayerUpdates updates) const;
  /// Whether no gradient leads to any pair.
  bool all_zero() const;
};

/// Pairs in a network that computes in another dtype and trains nothing else, for as long as this
/// lives.
class TaughtPairs {
 public:
  /// Aliases the tensors of `pairs`.
  TaughtPairs(nn::UNet2DConditionModel unet, const concepts::LayerUpdates& pairs,
              torch::ScalarType dtype);
  ~TaughtPairs();
  TaughtPairs(const TaughtPairs&) = delete;
  TaughtPairs& operator=(const TaughtPairs&) = delete;

  /// A group for each factor, with a rate relative to its size.
  std::vector<train::ParameterGroup> groups(double relative_rate);

 private:
  nn::UNet2DConditionModel unet_;
  FrozenNetwork frozen_;
};

}  // namespace mos::fuse
