#pragma once

#include <vector>

#include "mos/train/optimiser.h"
#include "mos/train/parameters.h"

namespace mos::train {

/// x −= rate · gradient, and nothing to remember: the sum of all gradients can be told from where a
/// parameter has gone.
class GradientDescent final : public Optimiser {
 public:
  explicit GradientDescent(std::vector<ParameterGroup> groups);

  void step(double factor) override;
  void freeze(std::size_t group) override;
  io::StateDict state() const override { return {}; }
  void load(const io::StateDict&, std::int64_t) override {}

 private:
  std::vector<ParameterGroup> groups_;
};

}  // namespace mos::train
