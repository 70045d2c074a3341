#pragma once

#include <torch/types.h>

#include <cstdint>

namespace mos::fuse {

/// What one concept changes in one layer, ΔW [O,I], as merging computes with it: up · down, or
/// dense. Float64 on the CPU; any factor (alpha, merge scale) is in `down` or `dense` already. All
/// undefined: no update.
struct Update {
  torch::Tensor up = {};     ///< [O,r]
  torch::Tensor down = {};   ///< [r,I]
  torch::Tensor dense = {};  ///< [O,I]; of a low-rank one undefined.

  bool empty() const { return !up.defined() && !dense.defined(); }
  bool is_low_rank() const { return up.defined(); }
  std::int64_t rank() const;  ///< r; min(O,I) of a dense one, 0 of none.

  /// ΔW [O,I]. Aliases a dense one. Required: it is not empty.
  torch::Tensor matrix() const;
  /// The same ΔW as two factors; a dense one is one of them, beside an identity.
  Update factored() const;
};

}  // namespace mos::fuse
