#pragma once

#include <cstddef>

namespace mos::fuse {

/// How far the fused model is from one concept's own, on lessons that nobody was taught: the mean
/// square of the difference between what both say.
struct Distance {
  std::size_t concept_number = 0;
  double weight = 1.0;  ///< How much the concept counts.
  double before = 0.0, after = 0.0;
};

}  // namespace mos::fuse
