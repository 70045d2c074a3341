#pragma once

#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "mos/nn/attention.h"
#include "mos/region/own_updates.h"
#include "mos/region/region.h"
#include "mos/region/structure.h"

/// Regions of any shape, order and time in the attention layers. What boxes with the paper's rules
/// need is in regional_attention.h; both do the same for those.
namespace mos::region {

struct MaskedContext {
  torch::Tensor mask;             ///< float32 [H,W] pixels, 0…1.
  torch::Tensor context;          ///< [1 or 2,S,C] or [1 or 2,L,S,C], the unconditional half first.
  double weight = 1.0;            ///< 1 replaces the context where the mask is 1.
  double start = 0.0, end = 1.0;  ///< Share of the steps.
  std::shared_ptr<const OwnUpdates> own = {};  ///< Of its concepts; null: none are apart.
  torch::Tensor values =
      {};  ///< [1,S,C] or [1,L,S,C] that values are made of in the prompt's half.
  std::vector<std::int64_t> hidden = {};  ///< Columns of the prompt's half that it does not read.
};

enum class Overlap {
  kMean,  ///< Σ mᵢ yᵢ / max(1, Σ mᵢ), the context for what is missing to 1 (paper for boxes).
  kFront,  ///< The first region takes its mᵢ, the next one of what is left, and so on.
};

/// What the layers of one picture share.
struct MaskedRegions {
  std::vector<MaskedContext> regions;
  Overlap overlap = Overlap::kMean;
  double base_ratio = 0.0;   ///< This share of the context stays inside every region.
  bool isolate = false;      ///< Regions do not see each other in self-attention.
  StructuredText structure;  ///< Of the context's prompt.
  std::shared_ptr<const OwnUpdates> own_context;  ///< Of the context's keys and values; or null.
  std::int64_t latent_height = 0, latent_width = 0;
  std::int64_t pictures = 1;  ///< Of a batch.
  double progress = 0.0;      ///< Share of the calls before this one; kept up to date by its owner.
};

/// Which positions of a layer regions take, at what weight. Kept by feature size and by which
/// regions are on.
class RegionShares {
 public:
  /// One region on the positions of a layer.
  struct Share {
    torch::Tensor positions;  ///< [n] int64 of N
    torch::Tensor weights;    ///< [n,1] of the region's attention; the rest is the context's.
    FeatureBox box;           ///< The rectangle that holds them.
    torch::Tensor in_box;     ///< [h,w] of the box, the weights where they are.
  };

  explicit RegionShares(std::shared_ptr<const MaskedRegions> scene);
  /// On features of `positions` places now, in the order of the regions.
  const std::vector<Share>& at(std::int64_t positions, torch::Device device);

 private:
  std::vector<Share> make(std::int64_t positions, torch::Device device) const;

  std::shared_ptr<const MaskedRegions> scene_;
  std::map<std::pair<std::int64_t, std::vector<bool>>, std::vector<Share>> kept_;
};

/// Adds `change`, which is of the positions of `share` along `dim`, to `all` by its weights; an
/// undefined one is none.
void add_share(const torch::Tensor& all, const RegionShares::Share& share,
               const torch::Tensor& change, std::int64_t dim);

/// Cross-attention: for each position the context's attention and that of its regions, by weight.
/// A region is computed for the positions that it covers, so time grows with areas. Concepts of its
/// own are in its queries, keys, values and output as if they were merged.
class MaskedAttention : public nn::AttentionProcessor {
 public:
  explicit MaskedAttention(std::shared_ptr<const MaskedRegions> scene);
  torch::Tensor process(nn::AttentionImpl& attention, const torch::Tensor& hidden_states,
                        const torch::Tensor& context) override;

 private:
  const std::vector<nn::KeyValue>& key_values(nn::AttentionImpl& attention);
  /// Of the context, everywhere.
  torch::Tensor see_context(nn::AttentionImpl& attention, const torch::Tensor& query,
                            const torch::Tensor& context) const;
  /// Attention of region `i`, without the words that are hidden there.
  torch::Tensor see(std::size_t i, const torch::Tensor& query, const nn::KeyValue& text);

  std::shared_ptr<const MaskedRegions> scene_;
  RegionShares shares_;
  std::map<const nn::AttentionImpl*, std::vector<nn::KeyValue>> key_values_;
};

/// Self-attention of a scene. With `isolate` a position of one region does not see those of others
/// (LoRA-Composer): it belongs to the region with the largest mask there, if that is at least one
/// half; those of none see and are seen by all. Concepts of a region's own change its queries,
/// keys, values and output by its weight at each position.
class RegionalSelfAttention : public nn::AttentionProcessor {
 public:
  explicit RegionalSelfAttention(std::shared_ptr<const MaskedRegions> scene);
  torch::Tensor process(nn::AttentionImpl& attention, const torch::Tensor& hidden_states,
                        const torch::Tensor& context) override;

 private:
  /// Positions [n] of one owner, and those that it sees.
  struct Group {
    torch::Tensor queries, keys;
  };
  std::vector<Group> make_groups(std::int64_t positions, torch::Device device) const;
  torch::Tensor isolated(const torch::Tensor& query, const nn::KeyValue& seen);

  std::shared_ptr<const MaskedRegions> scene_;
  RegionShares shares_;
  std::map<std::int64_t, std::vector<Group>> groups_;
};

}  // namespace mos::region
