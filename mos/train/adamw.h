#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "mos/io/state_dict.h"
#include "mos/train/optimiser.h"
#include "mos/train/parameters.h"

namespace mos::train {

struct AdamWOptions {
  double beta1 = 0.9;
  double beta2 = 0.999;
  double epsilon = 1e-8;
  double weight_decay = 0.01;
};

/// AdamW (arXiv 1711.05101) with torch.optim's arithmetic, all tensors of a group in one operation
/// each where the device has such.
class AdamW final : public Optimiser {
 public:
  AdamW(std::vector<ParameterGroup> groups, const AdamWOptions& options);

  void step(double factor) override;
  void freeze(std::size_t group) override;

  /// The two moments of every parameter: `<name>/moment1`, `<name>/moment2`.
  io::StateDict state() const override;
  std::int64_t steps() const { return steps_; }

  void load(const io::StateDict& state, std::int64_t steps) override;

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
