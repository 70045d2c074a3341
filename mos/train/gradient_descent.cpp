#include "mos/train/gradient_descent.h"

#include <utility>

namespace mos::train {

GradientDescent::GradientDescent(std::vector<ParameterGroup> groups) : groups_(std::move(groups)) {
  for (std::size_t i = 0; i < groups_.size(); ++i) {
    if (groups_[i].rate == 0) freeze(i);
  }
}

void GradientDescent::step(double factor) {
  torch::NoGradGuard no_grad;
  for (auto& group : groups_) {
    for (auto& parameter : group.parameters) {
      auto& gradient = parameter.value.mutable_grad();
      if (gradient.defined() && group.rate != 0) {
        parameter.value.sub_(gradient, /*alpha=*/group.rate * factor);
      }
      gradient.reset();
    }
  }
}

void GradientDescent::freeze(std::size_t group) {
  groups_[group].rate = 0;
  for (auto& parameter : groups_[group].parameters) {
    parameter.value.mutable_grad().reset();
    parameter.value.requires_grad_(false);
  }
}

}  // namespace mos::train
