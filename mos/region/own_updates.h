#pragma once

#include <torch/types.h>

#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "mos/concepts/layer_update.h"
#include "mos/nn/attention.h"
#include "mos/nn/linear.h"
#include "mos/nn/unet.h"

/// Concepts that stay apart: what they change in a U-Net is added to the positions of their own
/// region, y = W0 x + Σᵢ mᵢ ΔWᵢ x, instead of to the weights.
namespace mos::region {

/// A projection of an attention layer.
enum class Projection { kQuery, kKey, kValue, kOutput };

/// Whether what a layer of a U-Net says has a place in the picture: all but those that embed the
/// timestep, which every block reads. What blocks make of that is added at positions.
bool has_positions(const std::string& unet_layer);

/// What the concepts of one text change in a U-Net. Keeps factors as factors: a row costs
/// r · (I + O), and I · O only for updates that have none.
class OwnUpdates {
 public:
  struct Term {
    torch::Tensor down;  ///< [r,I], or [r,C,k,k] of a convolution; undefined: `up` is all of ΔW.
    torch::Tensor up;    ///< [O,r], or the whole [O,I] or [O,C,k,k], with all factors in it.
    torch::Tensor bias;  ///< [O] or undefined.
  };

  /// Adds `merge_scale` · `updates`, of the weights that `unet` has now. Kept on its device, in the
  /// type that it computes in. Throws kMismatch for layers without positions.
  void add(nn::UNet2DConditionModel& unet, const concepts::LayerUpdates& updates,
           double merge_scale, const std::string& origin);

  bool changes(const nn::AttentionImpl& attention) const;

  /// What is outside of attention, by layer.
  const std::map<nn::LoraLayer*, std::vector<Term>>& layers() const { return layers_; }
  /// For those of them that read the timestep and say one vector for each picture: the convolution
  /// that adds it to its positions.
  const std::map<nn::LoraLayer*, nn::LoraLayer*>& adders() const { return adders_; }

  /// change_rows() of a projection; undefined where nothing changes.
  torch::Tensor change(const nn::AttentionImpl& attention, Projection projection,
                       const torch::Tensor& rows) const;

 private:
  std::map<std::pair<const nn::AttentionImpl*, Projection>, std::vector<Term>> terms_;
  std::map<nn::LoraLayer*, std::vector<Term>> layers_;
  std::map<nn::LoraLayer*, nn::LoraLayer*> adders_;
};

/// Σ ΔW x + Δb of rows x [...,I]: [...,O], in their type. Undefined without terms.
torch::Tensor change_rows(const std::vector<OwnUpdates::Term>& terms, const torch::Tensor& rows);

/// The updates of a scene's texts; null where a text has none.
struct OwnOfScene {
  std::shared_ptr<const OwnUpdates> context;               ///< Of its keys and values alone.
  std::vector<std::shared_ptr<const OwnUpdates>> regions;  ///< In their order, or none at all.
};

/// Keys and values of `source` [B,M,C] with what `own` (or null) changes in them.
nn::KeyValue own_key_value(nn::AttentionImpl& attention, const torch::Tensor& source,
                           const OwnUpdates* own);

/// `query` [B,heads,N,D] of the rows [B,N,C], the same.
torch::Tensor own_query(const nn::AttentionImpl& attention, const torch::Tensor& query,
                        const torch::Tensor& rows, const OwnUpdates& own);

}  // namespace mos::region
