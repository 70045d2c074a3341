#pragma once

#include <torch/types.h>

namespace mos::test {

/// The largest difference of two elements in the same place.
inline double difference(const torch::Tensor& a, const torch::Tensor& b) {
  return (a - b).abs().max().item<double>();
}

}  // namespace mos::test
