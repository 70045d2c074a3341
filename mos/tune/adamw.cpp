#include "mos/tune/adamw.h"

#include <fmt/core.h>

#include <cmath>
#include <utility>

#include "mos/base/error.h"

namespace mos::tune {

AdamW::AdamW(std::vector<ParameterGroup> groups, const AdamWOptions& options) : options_(options) {
  for (std::size_t g = 0; g < groups.size(); ++g) {
    rates_.push_back(groups[g].rate);
    for (auto& parameter : groups[g].parameters) {
      const auto zeros = torch::zeros_like(parameter.value).detach();
      slots_.push_back({std::move(parameter), g, zeros, zeros.clone()});
    }
    if (groups[g].rate == 0) freeze(g);
  }
}

void AdamW::step(double factor) {
  torch::NoGradGuard no_grad;
  ++steps_;
  for (auto& slot : slots_) {
    auto& gradient = slot.parameter.value.mutable_grad();
    if (!gradient.defined()) continue;
    if (rates_[slot.group] != 0) update(slot, rates_[slot.group] * factor);
    gradient.reset();
  }
}

void AdamW::update(Slot& slot, double rate) {
  auto& value = slot.parameter.value;
  const auto& gradient = value.grad();
  const auto step = static_cast<double>(steps_);
  const double correction1 = 1.0 - std::pow(options_.beta1, step);
  const double correction2 = 1.0 - std::pow(options_.beta2, step);

  value.mul_(1.0 - rate * options_.weight_decay);
  slot.moment1.mul_(options_.beta1).add_(gradient, 1.0 - options_.beta1);
  slot.moment2.mul_(options_.beta2).addcmul_(gradient, gradient, 1.0 - options_.beta2);
  const auto denominator = (slot.moment2.sqrt() / std::sqrt(correction2)).add_(options_.epsilon);
  value.addcdiv_(slot.moment1, denominator, -rate / correction1);
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

}  // namespace mos::tune
