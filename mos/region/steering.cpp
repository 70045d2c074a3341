#include "mos/region/steering.h"

#include <c10/core/GradMode.h>
#include <fmt/core.h>
#include <torch/csrc/autograd/autograd.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>
#include <utility>

#include "mos/base/error.h"
#include "mos/base/log.h"

namespace mos::region {

using diffusion::Network;
using diffusion::NetworkCall;
using torch::Tensor;

namespace {

/// Parameters that want no gradient, and so keep nothing for one, for as long as this lives.
class Frozen {
 public:
  explicit Frozen(const torch::nn::Module& module) {
    for (auto& parameter : module.parameters()) {
      if (!parameter.requires_grad()) continue;
      parameter.requires_grad_(false);
      parameters_.push_back(parameter);
    }
  }
  ~Frozen() {
    for (auto& parameter : parameters_) parameter.requires_grad_(true);
  }
  Frozen(const Frozen&) = delete;
  Frozen& operator=(const Frozen&) = delete;

 private:
  std::vector<Tensor> parameters_;
};

/// One run of the network with what it has seen.
struct Look {
  Tensor sample;  ///< The leaf of the graph.
  Seen seen;
  Tensor loss;
};

class Steering {
 public:
  explicit Steering(SteeringInputs inputs)
      : inputs_(std::move(inputs)),
        guide_(guide_info(inputs_.guide).make()),
        level_(guide_level(inputs_.unet, inputs_.latents)) {}

  Tensor steer(const NetworkCall& call, const Network& network) {
    const auto step = step_of(call);
    if (step.most + step.always == 0) {
      say_once();
      return call.input;
    }
    const Frozen frozen(*inputs_.unet);
    std::vector<Tensor> moved;
    pictures_.resize(static_cast<std::size_t>(call.input.size(0)));
    for (std::int64_t i = 0; i < call.input.size(0); ++i) {
      auto& picture = pictures_[static_cast<std::size_t>(i)];
      auto one = call;
      one.input = call.input.narrow(0, i, 1);
      one.text = call.text.narrow(i, 1);
      moved.push_back(picture.has_ended ? one.input : steer_one(one, network, step));
      if (picture.has_ended) continue;
      picture.has_ended = step.last_if_worse && last_ > picture.loss;
      picture.loss = last_;
    }
    return torch::cat(moved);
  }

 private:
  GuideStep step_of(const NetworkCall& call) const {
    const auto timestep = call.timestep.item<double>();
    const auto kept =
        inputs_.schedule->alpha_cumprod(static_cast<std::int64_t>(std::lround(timestep)));
    auto step = guide_->step_at({.index = call.index,
                                 .total = call.total,
                                 .noise = 1.0 - kept,
                                 .subjects = static_cast<std::int64_t>(inputs_.subjects.size())});
    step.size *= inputs_.scale;
    if (inputs_.scale == 0.0) step = {.always = std::min<std::int64_t>(1, step.most + step.always)};
    return step;
  }

  Look look(NetworkCall call, const Network& network) const {
    const c10::AutoGradMode with_gradients(true);
    AttentionObserver observer(
        inputs_.unet, inputs_.texts, inputs_.latents,
        [this](const LayerPlace& place) { return guide_->looks_at(place, level_); });
    Look look{call.input.detach().clone().requires_grad_(true), {}, {}};
    call.input = look.sample;
    network(call);
    look.seen = {observer.take(), inputs_.subjects};
    look.loss = guide_->loss(look.seen);
    return look;
  }

  Tensor steer_one(NetworkCall call, const Network& network, const GuideStep& step) {
    if (call.index == 0 && inputs_.scale > 0.0) {
      auto begun = beginning(call, network);
      if (begun.defined()) call.input = std::move(begun);
    }
    for (std::int64_t n = 0; n < step.most; ++n) {
      if (!move(call, network, step, step.enough)) break;
    }
    for (std::int64_t n = 0; n < step.always; ++n) {
      if (!move(call, network, step, 0.0)) break;
    }
    return call.input;
  }

  Tensor beginning(const NetworkCall& call, const Network& network) const {
    if (!guide_->begins()) return {};
    const auto seen = look(call, network).seen;
    const torch::NoGradGuard no_grad;
    return guide_->beginning(call.input, seen);
  }

  /// Whether there was more than `enough` to be gained.
  bool move(NetworkCall& call, const Network& network, const GuideStep& step, double enough) {
    const auto seen = look(call, network);
    last_ = seen.loss.item<double>();
    if (!first_) first_ = last_;
    if (last_ <= enough) return false;
    if (step.size == 0.0) return true;
    const auto gradient = torch::autograd::grad({seen.loss}, {seen.sample}).front();
    if (!std::isfinite(gradient.sum().item<double>())) {
      throw Error(ErrorKind::kMismatch,
                  fmt::format("the gradient of {} is not finite at call {} of {}; take --dtype "
                              "float32 or bfloat16, or a smaller --guide-scale",
                              guide_info(inputs_.guide).title, call.index + 1, call.total));
    }
    call.input = call.input - step.size * gradient;
    ++moves_;
    return true;
  }

  void say_once() {
    if (!first_) return;
    log::info(
        fmt::format("{}: the latents were moved {} times; the loss was {:.3f} at first and "
                    "{:.3f} in the end",
                    guide_info(inputs_.guide).title, moves_, *first_, last_));
    first_.reset();
  }

  /// Of a picture of the batch: what its last step began its last move with.
  struct Picture {
    double loss = std::numeric_limits<double>::infinity();
    bool has_ended = false;
  };

  SteeringInputs inputs_;
  std::vector<Picture> pictures_;
  std::unique_ptr<LatentGuide> guide_;
  std::int64_t level_;
  std::optional<double> first_;
  double last_ = 0.0;
  std::int64_t moves_ = 0;
};

}  // namespace

diffusion::SteerCallback steering(SteeringInputs inputs) {
  const auto steering = std::make_shared<Steering>(std::move(inputs));
  return [steering](const NetworkCall& call, const Network& network) {
    return steering->steer(call, network);
  };
}

}  // namespace mos::region
