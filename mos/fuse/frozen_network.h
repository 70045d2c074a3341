#pragma once

#include <torch/nn/module.h>
#include <torch/types.h>

#include <vector>

namespace mos::fuse {

/// A network that computes in `dtype` and whose parameters are not trained, for as long as this
/// lives; what is registered meanwhile is none of them.
class FrozenNetwork {
 public:
  FrozenNetwork(torch::nn::Module& network, torch::ScalarType dtype);
  ~FrozenNetwork();
  FrozenNetwork(const FrozenNetwork&) = delete;
  FrozenNetwork& operator=(const FrozenNetwork&) = delete;

 private:
  struct Former {
    torch::Tensor parameter, value;
    bool requires_grad;
  };
  std::vector<Former> former_;
};

}  // namespace mos::fuse
