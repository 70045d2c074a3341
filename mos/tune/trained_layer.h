#pragma once

#include <ATen/core/Generator.h>
#include <torch/types.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "mos/concepts/layer_update.h"
#include "mos/nn/linear.h"
#include "mos/train/parameters.h"
#include "mos/tune/plan.h"

/// The forms in which the weights of a layer are trained; each is a file of forms/.
namespace mos::tune {

using train::NamedParameter;  // called as in a concept file

/// The weights of one layer under training: what is a leaf, what the layer computes with meanwhile,
/// and what a file keeps of it. The layer has its own weights again when this ends, and must
/// outlive it. What is registered in the layer stays W0 all the time.
class TrainedLayer {
 public:
  virtual ~TrainedLayer() = default;
  TrainedLayer(const TrainedLayer&) = delete;
  TrainedLayer& operator=(const TrainedLayer&) = delete;

  /// What an optimiser moves, float32, named as the last part of a checkpoint's key
  /// ("lora_up.weight").
  virtual std::vector<NamedParameter> leaves() const = 0;

  /// From now on the layer computes with what the leaves say, `scale` times: 1 as tuned, 0 as it
  /// was. A weight that is a function of the leaves belongs to one graph: put it for each.
  virtual void put(double scale) = 0;
  /// The same with what update() gives, where that is not what is trained.
  virtual void show(double scale) { put(scale); }

  /// What the leaves amount to, copied; nothing where that is no change.
  virtual std::optional<concepts::LayerUpdate> update() const = 0;

  /// The same in a layer of another network, with leaves of its own on the values of these.
  virtual std::unique_ptr<TrainedLayer> replica(nn::LoraLayer& layer) const = 0;

 protected:
  TrainedLayer() = default;
};

/// What training starts from, an update that changes nothing. `draw`: which of the run's layers it
/// is, for random numbers.
concepts::LayerUpdate start_update(const nn::LoraLayer& layer, const WeightPlan& plan,
                                   std::uint64_t seed, std::uint64_t draw);

/// `start` under training in `layer`, which it fits: a pair of factors, full differences, spectral
/// shifts or silenced neurons. Throws mos::Error(kMismatch) for other forms.
std::unique_ptr<TrainedLayer> train_layer(nn::LoraLayer& layer, const concepts::LayerUpdate& start,
                                          const WeightPlan& plan);

/// A copy in float32 that requires grad, on the device of `like`.
torch::Tensor leaf_of(const torch::Tensor& value, const torch::Tensor& like);
/// A leaf of its own on the values of `leaf`.
torch::Tensor same_leaf(const torch::Tensor& leaf);

}  // namespace mos::tune
