#pragma once

#include <torch/types.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "mos/nn/attention.h"
#include "mos/nn/unet.h"
#include "mos/region/own_updates.h"

/// What attention layers look at, kept while the network runs; gradients flow through it.
namespace mos::region {

/// An attention layer of a U-Net, as those see it who choose layers.
struct LayerPlace {
  std::string name;        ///< Dotted, of the attention.
  std::int64_t level = 0;  ///< Halvings of its features: 0 has the size of the latents.
  bool is_cross = true;
  bool is_mid = false;       ///< Of the mid block.
  bool is_up = false;        ///< Of an up block.
  bool is_first_up = false;  ///< Of the first up block that has attention.
};

/// A text whose words are looked for; the layers may read others.
struct ObservedText {
  torch::Tensor context;                       ///< [1,S,C] or [1,L,S,C]
  std::shared_ptr<const OwnUpdates> own = {};  ///< Of queries and keys; null: none.
};

/// What one layer has seen in one run for a single picture.
struct SeenLayer {
  LayerPlace place;
  nn::FeatureSize size = {0, 0};
  std::vector<torch::Tensor> texts;  ///< Cross: float32 [heads,N,S] of each observed text.
  torch::Tensor self;                ///< Self: float32 [heads,N,N].
  torch::Tensor output;              ///< What the layer gives, [N,C].
};

/// Watches attention layers for as long as it lives: beside what such a layer does anyway, with
/// whatever processor it has, it keeps the softmax that the layer would give observed texts
/// everywhere. So regions, isolation and fused kernels stay what they are, and only watched layers
/// keep a matrix, which is what bounds the memory. Required: runs are of one picture, and nobody
/// else runs the U-Net.
class AttentionObserver {
 public:
  using Choice = std::function<bool(const LayerPlace&)>;

  AttentionObserver(nn::UNet2DConditionModel unet, std::vector<ObservedText> texts,
                    nn::FeatureSize latents, const Choice& choice);
  ~AttentionObserver();
  AttentionObserver(const AttentionObserver&) = delete;
  AttentionObserver& operator=(const AttentionObserver&) = delete;

  /// Of the runs since the last call, in the order of the network.
  std::vector<SeenLayer> take();

  struct Shared;

 private:
  std::shared_ptr<Shared> shared_;
  std::vector<std::unique_ptr<nn::ScopedProcessor>> installed_;
};

/// All attention layers of a U-Net in the order of its modules.
std::vector<std::pair<LayerPlace, nn::Attention>> attention_layers(nn::UNet2DConditionModel& unet);

}  // namespace mos::region
