#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "mos/io/state_dict.h"
#include "mos/train/parameters.h"

namespace mos::train {

struct AdamWOptions {
  double beta1 = 0.9;
  double beta2 = 0.999;
  double epsilon = 1e-8;
  double weight_decay = 0.01;
};

/// AdamW (arXiv 1711.05101) with torch.optim's arithmetic, all tensors of a group in one operation
/// each where the device has such, and a state that can be saved by name and taken up again without
/// a difference. Groups with rate 0 are left alone.
class AdamW {
 public:
  AdamW(std::vector<ParameterGroup> groups, const AdamWOptions& options);

  /// One update with every rate times `factor`; parameters without a gradient stay as they are.
  /// Then forgets the gradients.
  void step(double factor);

  /// Takes the group out of all further updates; its parameters no longer require grad.
  void freeze(std::size_t group);

  /// The two moments of every parameter: `<name>/moment1`, `<name>/moment2`; aliased.
  io::StateDict state() const;
  std::int64_t steps() const { return steps_; }

  /// Copies a saved state. Throws mos::Error(kMismatch) if a moment is missing or has another
  /// shape.
  void load(const io::StateDict& state, std::int64_t steps);

 private:
  struct Slot {
    NamedParameter parameter;
    std::size_t group;
    torch::Tensor moment1, moment2;
  };

  void update(std::size_t group, double rate);

  AdamWOptions options_;
  std::vector<double> rates_;
  std::vector<Slot> slots_;
  std::int64_t steps_ = 0;
};

}  // namespace mos::train
