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

namespace mos::concepts {

/// The layers of `model` that `pairs` names, in the order of `pairs`.
/// Throws kMismatch listing every name that the model lacks and every pair of another shape:
/// the concept was tuned on another base model.
std::vector<nn::LoraLayer*> find_layers(torch::nn::Module& model, const LoraPairs& pairs,
                                        const std::string& origin);

/// Takes out of `pairs` what is for layers that `model` lacks; their keys become unexpected ones.
void leave_out_absent_layers(torch::nn::Module& model, Network network, LoraPairs& pairs,
                             KeyReport& keys);

/// Takes out of `pairs` what does not fit its layer of `model`; their keys become wrong ones.
void leave_out_other_shapes(torch::nn::Module& model, Network network, LoraPairs& pairs,
                            KeyReport& keys);

/// Attaches every pair to its layer as trainable factors that alias the pair's tensors, with
/// lora_scale = pair.scale · merge_scale.
void attach_lora(torch::nn::Module& model, const LoraPairs& pairs, double merge_scale,
                 const std::string& origin);
void detach_lora(torch::nn::Module& model);
/// Sets lora_scale of every attached LoRA.
void set_lora_scale(torch::nn::Module& model, double scale);

/// Adds merge_scale · ΔW to the weights, computed in float32 (Eq. 2 with one concept).
void merge_lora(torch::nn::Module& model, const LoraPairs& pairs, double merge_scale,
                const std::string& origin);

/// A LoRA on its way into a model.
struct ScaledLora {
  const LoraPairs* pairs = nullptr;
  double merge_scale = 1.0;
  std::string origin;  ///< For messages.
};

/// Merges all of them, layer by layer: each changed weight is summed in float32 and then becomes
/// `dtype`, so memory is that of the model and of one layer.
void merge_loras(torch::nn::Module& model, std::span<const ScaledLora> loras,
                 torch::ScalarType dtype);

/// A merge that ends with its scope: the former weights come back, bit for bit. Meanwhile the
/// merged ones are float32, whatever the model keeps its weights in.
class ScopedMerge {
 public:
  ScopedMerge(torch::nn::Module& model, const LoraPairs& pairs, double merge_scale,
              const std::string& origin);
  ~ScopedMerge();
  ScopedMerge(const ScopedMerge&) = delete;
  ScopedMerge& operator=(const ScopedMerge&) = delete;

 private:
  std::vector<nn::LoraLayer*> layers_;
  std::vector<torch::Tensor> former_;
};

/// The pairs whose layer name satisfies `wanted`; tensors are aliased.
LoraPairs filter(const LoraPairs& pairs, const std::function<bool(const std::string&)>& wanted);

}  // namespace mos::concepts
