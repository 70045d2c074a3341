#pragma once

#include <cstddef>
#include <cstdint>

#include "mos/io/state_dict.h"

namespace mos::train {

/// A rule by which groups of parameters follow their gradients, with a state that can be saved by
/// name and taken up again without a difference. Groups with rate 0 are left alone.
class Optimiser {
 public:
  virtual ~Optimiser() = default;

  /// One update with every rate times `factor`; parameters without a gradient stay as they are.
  /// Then forgets the gradients.
  virtual void step(double factor) = 0;

  /// Takes the group out of all further updates; its parameters no longer require grad.
  virtual void freeze(std::size_t group) = 0;

  /// What it remembers of every parameter, by `<name>/…`; aliased.
  virtual io::StateDict state() const = 0;

  /// Copies a saved state. Throws mos::Error(kMismatch) if something is missing or has another
  /// shape.
  virtual void load(const io::StateDict& state, std::int64_t steps) = 0;
};

}  // namespace mos::train
