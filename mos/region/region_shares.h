#pragma once

#include <torch/types.h>

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "mos/region/masked_regions.h"
#include "mos/region/region.h"

namespace mos::region {

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
  /// Which regions are on now, in their order.
  std::vector<bool> regions_on() const;

 private:
  std::vector<Share> make(std::int64_t positions, torch::Device device) const;

  std::shared_ptr<const MaskedRegions> scene_;
  std::map<std::pair<std::int64_t, std::vector<bool>>, std::vector<Share>> kept_;
};

/// Adds `change` [B,n,C], which is of the positions of `share`, to `all` [B,N,C] by its weights; an
/// undefined one is none.
void add_share(const torch::Tensor& all, const RegionShares::Share& share,
               const torch::Tensor& change);

}  // namespace mos::region
