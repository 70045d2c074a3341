#pragma once

#include <torch/types.h>

#include <cstddef>
#include <cstdint>
#include <vector>

#include "mos/region/region_shares.h"

/// Who reads which rows of a layer, where every region has a text of its own.
namespace mos::region {

/// Regions of like size whose attention is one call: what a small call costs is mostly the call.
struct RowGroup {
  std::vector<std::size_t> regions;
  std::int64_t length = 0;  ///< Rows of each; a smaller region has some twice.
  torch::Tensor rows;       ///< [regions · length] int64 of N
};

/// Every row of a layer is read by those texts alone that have a weight there, so regions cost
/// little more than the context does without them.
struct RowPlan {
  torch::Tensor context;  ///< [n] int64 of N that the context reads
  std::vector<RowGroup> groups;
  // Of each position, the rows that it was read as and their weights; K: of those that have most.
  // Rows are counted over those of the context and then of the groups.
  torch::Tensor rows;     ///< [K,N] int64
  torch::Tensor weights;  ///< [K,N] float32; 0 beyond those that a position has
};

/// `text_lengths`: tokens of each region's text; only those of the same length are one group.
RowPlan plan_rows(const std::vector<RegionShares::Share>& shares,
                  const std::vector<std::int64_t>& text_lengths, std::int64_t positions,
                  torch::Device device);

/// What the context's rows and those of each group saw, [B,n,C] each, as one [B,N,C].
torch::Tensor put_together(const RowPlan& plan, const std::vector<torch::Tensor>& seen);

}  // namespace mos::region
