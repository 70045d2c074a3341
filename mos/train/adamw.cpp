#include "mos/train/adamw.h"

#include <ATen/Functions.h>
#include <fmt/core.h>

#include <cmath>
#include <utility>

#include "mos/base/error.h"

namespace mos::train {

AdamW::AdamW(std::vector<ParameterGroup> groups, const AdamWOptions& options) : options_(options) {
  for (std::size_t g = 0; g < groups.size(); ++g) {
    rates_.push_back(groups[g].rate);
    for (auto& parameter : groups[g].parameters) {
      const auto zeros = torch::zeros_like(parameter.value).detach();
      slots_.push_back({std::move(parameter), g, zeros, zeros.clone()});
    }
    // A rate of 0 is a group that is not trained: no gradients are made for it.
    if (groups[g].rate == 0) freeze(g);
  }
}

void AdamW::step(double factor) {
  torch::NoGradGuard no_grad;
  ++steps_;
  for (std::size_t g = 0; g < rates_.size(); ++g) {
    if (rates_[g] != 0) update(g, rates_[g] * factor);
  }
  // Undefined rather than zero: the first gradient of the next step is stored, not added.
  for (auto& slot : slots_) slot.parameter.value.mutable_grad().reset();
}

void AdamW::update(std::size_t group, double rate) {
  std::vector<torch::Tensor> values, gradients, moments1, moments2;
  for (auto& slot : slots_) {
    const auto& gradient = slot.parameter.value.grad();
    // A word that no caption of the batch had has no gradient; PyTorch passes over such parameters
    // too, moments included.
    if (slot.group != group || !gradient.defined()) continue;
    values.push_back(slot.parameter.value);
    gradients.push_back(gradient);
    moments1.push_back(slot.moment1);
    moments2.push_back(slot.moment2);
  }
  if (values.empty()) return;
  const auto step = static_cast<double>(steps_);
  // Decoupled weight decay (arXiv 1711.05101), in the sequence of operations of PyTorch's AdamW
  // with foreach: the golden test compares every bit of drift.
  const double correction1 = 1.0 - std::pow(options_.beta1, step);
  const double correction2 = 1.0 - std::pow(options_.beta2, step);

  at::_foreach_mul_(values, 1.0 - rate * options_.weight_decay);
  at::_foreach_mul_(moments1, options_.beta1);
  at::_foreach_add_(moments1, gradients, 1.0 - options_.beta1);
  at::_foreach_mul_(moments2, options_.beta2);
  at::_foreach_addcmul_(moments2, gradients, gradients, 1.0 - options_.beta2);
  const auto denominators = at::_foreach_sqrt(moments2);
  at::_foreach_div_(denominators, std::sqrt(correction2));
  at::_foreach_add_(denominators, options_.epsilon);
  at::_foreach_addcdiv_(values, moments1, denominators, -rate / correction1);
}

void AdamW::freeze(std::size_t group) {
  rates_[group] = 0;
  for (auto& slot : slots_) {
    if (slot.group != group) continue;
    slot.parameter.value.mutable_grad().reset();
    slot.parameter.value.requires_grad_(false);
  }
}

io::StateDict AdamW::state() const {
  io::StateDict state;
  for (const auto& slot : slots_) {
    state[slot.parameter.name + "/moment1"] = slot.moment1;
    state[slot.parameter.name + "/moment2"] = slot.moment2;
  }
  return state;
}

void AdamW::load(const io::StateDict& state, std::int64_t steps) {
  const auto copy = [&](const std::string& name, torch::Tensor& moment) {
    const auto found = state.find(name);
    if (found == state.end() || found->second.sizes() != moment.sizes()) {
      throw Error(ErrorKind::kMismatch,
                  fmt::format("the checkpoint has no fitting {}; it was made with other options, "
                              "start again without it",
                              name));
    }
    moment.copy_(found->second);
  };
  for (auto& slot : slots_) {
    copy(slot.parameter.name + "/moment1", slot.moment1);
    copy(slot.parameter.name + "/moment2", slot.moment2);
  }
  steps_ = steps;
}

}  // namespace mos::train
