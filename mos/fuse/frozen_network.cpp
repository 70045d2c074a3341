#include "mos/fuse/frozen_network.h"

namespace mos::fuse {

FrozenNetwork::FrozenNetwork(torch::nn::Module& network, torch::ScalarType dtype) {
  for (auto& parameter : network.parameters()) {
    former_.push_back({parameter, parameter.detach(), parameter.requires_grad()});
    parameter.set_requires_grad(false);
    // Cast once, not at every call.
    parameter.set_data(parameter.detach().to(dtype));
  }
}

FrozenNetwork::~FrozenNetwork() {
  for (auto& former : former_) {
    former.parameter.set_data(former.value);
    former.parameter.set_requires_grad(former.requires_grad);
  }
}

}  // namespace mos::fuse
