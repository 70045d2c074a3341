#pragma once

#include <torch/nn/module.h>
#include <torch/types.h>

#include <functional>
#include <span>
#include <string>
#include <vector>

#include "mos/concepts/concept_delta.h"
#include "mos/concepts/key_report.h"
#include "mos/concepts/lora_names.h"
#include "mos/nn/linear.h"

namespace mos::diffusion {
struct Model;
}

namespace mos::concepts {

/// The layers of `model` that `updates` names, in the order of `updates`.
/// Throws kMismatch naming layers that the model lacks and updates of other shapes (the first
/// dozen): the concept was tuned on another base model.
std::vector<nn::LoraLayer*> find_layers(torch::nn::Module& model, const LayerUpdates& updates,
                                        const std::string& origin);

/// Takes out of `updates` what is for layers that `model` lacks; their keys become unexpected ones.
void leave_out_absent_layers(torch::nn::Module& model, checkpoint::Part network,
                             LayerUpdates& updates, KeyReport& keys);

/// Takes out of `updates` what does not fit its layer of `model`; their keys become wrong ones.
void leave_out_other_shapes(torch::nn::Module& model, checkpoint::Part network,
                            LayerUpdates& updates, KeyReport& keys);

/// `factor` [n,…] of a low-rank pair with as many dimensions as the layer's weight.
torch::Tensor with_dims_of(const torch::Tensor& weight, const torch::Tensor& factor);

/// Attaches every pair of factors to its layer, as trainable ones that alias the pair's tensors,
/// with lora_scale = pair.scale · merge_scale. Throws kMismatch for updates that are no such pair.
void attach_lora(torch::nn::Module& model, const LayerUpdates& updates, double merge_scale,
                 const std::string& origin);
void detach_lora(torch::nn::Module& model);

/// Adds merge_scale · ΔW to the weights, computed in float32 (Eq. 2 with one concept), and to the
/// biases what changes in them. Throws kMismatch as find_layers(), and naming the first layer whose
/// merged weights are not finite in their dtype; those before it are merged then.
void merge_lora(torch::nn::Module& model, const LayerUpdates& updates, double merge_scale,
                const std::string& origin);

/// The same of every network that `delta` changes; its words are not added.
void merge_concept(diffusion::Model& model, const ConceptDelta& delta, double merge_scale,
                   const std::string& origin);

/// Updates on their way into a model.
struct ScaledLora {
  const LayerUpdates* updates = nullptr;
  double merge_scale = 1.0;
  std::string origin;  ///< For messages.
};

/// Merges all of them, layer by layer: each changed weight is summed in float32 and then becomes
/// `dtype`, so memory is that of the model and of one layer. Updates that depend on the weight
/// (DoRA) are those of the weight as it was. Throws kMismatch as merge_lora().
void merge_loras(torch::nn::Module& model, std::span<const ScaledLora> loras,
                 torch::ScalarType dtype);

/// A merge that ends with its scope: the former weights come back, bit for bit. Meanwhile the
/// merged ones are float32, whatever the model keeps its weights in. Throws kMismatch as
/// merge_lora(), and then changes nothing.
class ScopedMerge {
 public:
  ScopedMerge(torch::nn::Module& model, const LayerUpdates& updates, double merge_scale,
              const std::string& origin);
  ~ScopedMerge();
  ScopedMerge(const ScopedMerge&) = delete;
  ScopedMerge& operator=(const ScopedMerge&) = delete;

 private:
  struct Former {
    nn::LoraLayer* layer = nullptr;
    torch::Tensor weight, bias;
  };
  std::vector<Former> former_;
};

/// The updates whose layer name satisfies `wanted`; tensors are aliased.
LayerUpdates filter(const LayerUpdates& updates,
                    const std::function<bool(const std::string&)>& wanted);

}  // namespace mos::concepts
