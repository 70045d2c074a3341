#include "mos/nn/norm.h"

#include "mos/nn/parameter.h"

namespace mos::nn {

GroupNormImpl::GroupNormImpl(std::int64_t groups, std::int64_t channels, double eps)
    : groups_(groups), eps_(eps) {
  weight = register_parameter("weight", new_parameter({channels}));
  bias = register_parameter("bias", new_parameter({channels}));
}

torch::Tensor GroupNormImpl::forward(const torch::Tensor& x, Activation activation) {
  return group_norm(x, groups_, weight, bias, eps_, activation);
}

LayerNormImpl::LayerNormImpl(std::int64_t features, double eps) : eps_(eps) {
  weight = register_parameter("weight", new_parameter({features}));
  bias = register_parameter("bias", new_parameter({features}));
}

torch::Tensor LayerNormImpl::forward(const torch::Tensor& x) {
  return layer_norm(x, weight, bias, eps_);
}

}  // namespace mos::nn
