#pragma once

#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "mos/nn/attention.h"

/// Regions of any shape, order and time in the attention layers. What boxes with the paper's rules
/// need is in regional_attention.h; both do the same for those.
namespace mos::region {

struct MaskedContext {
  torch::Tensor mask;             ///< float32 [H,W] pixels, 0…1.
  torch::Tensor context;          ///< [1 or 2,S,C] or [1 or 2,L,S,C], the unconditional half first.
  double weight = 1.0;            ///< 1 replaces the context where the mask is 1.
  double start = 0.0, end = 1.0;  ///< Share of the steps.
};

enum class Overlap {
  kMean,  ///< Σ mᵢ yᵢ / max(1, Σ mᵢ), the context for what is missing to 1 (paper for boxes).
  kFront,  ///< The first region takes its mᵢ, the next one of what is left, and so on.
};

/// What the layers of one picture share.
struct MaskedRegions {
  std::vector<MaskedContext> regions;
  Overlap overlap = Overlap::kMean;
  double base_ratio = 0.0;  ///< This share of the context stays inside every region.
  std::int64_t latent_height = 0, latent_width = 0;
  std::int64_t pictures = 1;  ///< Of a batch.
  double progress = 0.0;      ///< Share of the calls before this one; kept up to date by its owner.
};

/// Cross-attention: for each position the context's attention and that of its regions, by weight.
/// A region is computed for the positions that it covers, so time grows with areas.
class MaskedAttention : public nn::AttentionProcessor {
 public:
  explicit MaskedAttention(std::shared_ptr<const MaskedRegions> scene);
  torch::Tensor process(nn::AttentionImpl& attention, const torch::Tensor& hidden_states,
                        const torch::Tensor& context) override;

 private:
  /// One region on the positions of a layer.
  struct Share {
    torch::Tensor positions;  ///< [n] int64 of N
    torch::Tensor weights;    ///< [n,1] of the region's attention; the rest is the context's.
  };
  using Shares = std::vector<Share>;
  const Shares& shares_at(std::int64_t height, std::int64_t width, torch::Device device);
  Shares make_shares(std::int64_t height, std::int64_t width, torch::Device device) const;
  const std::vector<nn::KeyValue>& key_values(nn::AttentionImpl& attention);

  std::shared_ptr<const MaskedRegions> scene_;
  /// By feature size and which regions are on.
  std::map<std::pair<std::int64_t, std::vector<bool>>, Shares> shares_;
  std::map<const nn::AttentionImpl*, std::vector<nn::KeyValue>> key_values_;
};

/// Self-attention in which a position of one region does not see those of others (LoRA-Composer). A
/// position belongs to the region with the largest mask there, if that is at least one half; those
/// of none see and are seen by all.
class IsolatedAttention : public nn::AttentionProcessor {
 public:
  explicit IsolatedAttention(std::shared_ptr<const MaskedRegions> scene);
  torch::Tensor process(nn::AttentionImpl& attention, const torch::Tensor& hidden_states,
                        const torch::Tensor& context) override;

 private:
  /// Positions [n] of one owner, and those that it sees.
  struct Group {
    torch::Tensor queries, keys;
  };
  std::vector<Group> make_groups(std::int64_t positions, torch::Device device) const;

  std::shared_ptr<const MaskedRegions> scene_;
  std::map<std::int64_t, std::vector<Group>> groups_;
};

}  // namespace mos::region
