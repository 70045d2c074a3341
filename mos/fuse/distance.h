#pragma once

namespace mos::fuse {

/// How far the fused model is from a concept's own, on lessons that nobody was taught: mean squares
/// of the difference between what both say.
struct Distance {
  double before = 0.0, after = 0.0;
};

}  // namespace mos::fuse
