#pragma once

#include <memory>
#include <vector>

#include "mos/nn/linear.h"
#include "mos/region/masked_regions.h"

namespace mos::region {

/// What the concepts of regions change outside of attention (feed-forward, projections,
/// convolutions, what blocks make of the timestep), added to the outputs of those layers at the
/// regions' positions, for as long as this object lives: rows of a linear layer that a region
/// covers, and of a convolution the rectangle that holds it. Costs what the factors cost there;
/// layers that no concept changes are left alone.
class InstalledLayers {
 public:
  explicit InstalledLayers(std::shared_ptr<const MaskedRegions> scene);
  ~InstalledLayers();
  InstalledLayers(const InstalledLayers&) = delete;
  InstalledLayers& operator=(const InstalledLayers&) = delete;

 private:
  std::vector<nn::LoraLayer*> layers_;
};

}  // namespace mos::region
