#pragma once

#include <torch/types.h>

#include <string>
#include <vector>

namespace mos::train {

struct NamedParameter {
  std::string name;     ///< As in a checkpoint.
  torch::Tensor value;  ///< A leaf.
};

/// Parameters that share a learning rate.
struct ParameterGroup {
  std::vector<NamedParameter> parameters;
  double rate = 0.0;
};

}  // namespace mos::train
