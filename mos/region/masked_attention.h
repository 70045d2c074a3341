#pragma once

#include <cstddef>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "mos/nn/attention.h"
#include "mos/region/masked_regions.h"
#include "mos/region/region_rows.h"
#include "mos/region/region_shares.h"

/// The attention layers of a scene with regions of any shape, order and time.
namespace mos::region {

/// Cross-attention: for each position that of the context and of its regions, by weight. Each is
/// computed only where it has a weight. Concepts of a region's own are in its queries, keys, values
/// and output as if they were merged.
class MaskedAttention : public nn::AttentionProcessor {
 public:
  explicit MaskedAttention(std::shared_ptr<const MaskedRegions> scene);
  torch::Tensor process(nn::AttentionImpl& attention, const torch::Tensor& hidden_states,
                        const torch::Tensor& context) override;

 private:
  /// What the regions of a group read in one layer, [B,R,heads,S,D] each.
  struct GroupText {
    torch::Tensor key, value;
    torch::Tensor hidden;  ///< [B,R,1,1,S] to be added to scores; undefined: they read all words.
  };
  struct LayerTexts {
    const RowPlan* plan = nullptr;  ///< Whose groups they belong to.
    std::vector<GroupText> texts;
  };

  const RowPlan& plan_for(const std::vector<RegionShares::Share>& shares,
                          const torch::Tensor& rows);
  const std::vector<GroupText>& texts_for(nn::AttentionImpl& attention, const RowPlan& plan);
  GroupText text_of(nn::AttentionImpl& attention, const RowGroup& group) const;
  // What rows [B,n,heads·D] of the queries see: those of the context, and those of a group.
  torch::Tensor see_context(nn::AttentionImpl& attention, const torch::Tensor& rows,
                            const torch::Tensor& context) const;
  torch::Tensor see(const RowGroup& group, const GroupText& text, const torch::Tensor& rows,
                    std::int64_t heads) const;

  std::shared_ptr<const MaskedRegions> scene_;
  RegionShares shares_;
  std::map<const std::vector<RegionShares::Share>*, RowPlan> plans_;  ///< Of what `shares_` keeps.
  std::map<const nn::AttentionImpl*, LayerTexts> texts_;              ///< Of the latest plan.
};

/// Self-attention of a scene. With `isolate` a position of one region does not see those of others
/// (LoRA-Composer): it belongs to the region with the largest weight there, if that is at least
/// one half and that is on now; those of none see and are seen by all. Concepts of a region's own
/// change its queries, keys, values and output by its weight at each position.
class RegionalSelfAttention : public nn::AttentionProcessor {
 public:
  explicit RegionalSelfAttention(std::shared_ptr<const MaskedRegions> scene);
  torch::Tensor process(nn::AttentionImpl& attention, const torch::Tensor& hidden_states,
                        const torch::Tensor& context) override;
  torch::Tensor identity(nn::AttentionImpl& attention, const torch::Tensor& hidden_states) override;

 private:
  /// A tensor [B,N,…] and the projection that regions' own concepts change in it.
  using Projected = std::pair<torch::Tensor, Projection>;
  /// Adds to each what they change in its projection of `from`.
  void add_own(nn::AttentionImpl& attention, const torch::Tensor& from,
               const std::vector<Projected>& to);
  /// to_out of rows [B,N,heads·D].
  torch::Tensor output_of(nn::AttentionImpl& attention, const torch::Tensor& mixed);
  /// Positions [n] of one owner, and those that it sees.
  struct Group {
    torch::Tensor queries, keys;
  };
  std::vector<Group> make_groups(std::int64_t positions, torch::Device device) const;
  /// Of rows [B,N,heads·D] each.
  torch::Tensor isolated(const torch::Tensor& query, const torch::Tensor& key,
                         const torch::Tensor& value, std::int64_t heads);

  std::shared_ptr<const MaskedRegions> scene_;
  RegionShares shares_;
  /// By the number of positions and the regions that are on.
  std::map<std::pair<std::int64_t, std::vector<bool>>, std::vector<Group>> groups_;
};

}  // namespace mos::region
