#include "mos/pretrain/adamw.h"

#include <fmt/core.h>
#include <torch/nn/module.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>

#include "mos/base/error.h"

namespace mos::pretrain {

using torch::Tensor;

namespace {

/// What one update does to a run of parameters.
struct Update {
  float gradient_scale, beta1, beta2, keep, step_size, root_correction, epsilon, average;
};

struct Buffers {
  float* value;
  float* gradient;
  float* moment1;
  float* moment2;
  float* average;
};

[[gnu::always_inline]] inline void update_run(const Buffers& b, std::int64_t count,
                                              const Update& u) {
  float* __restrict__ value = b.value;
  float* __restrict__ gradient = b.gradient;
  float* __restrict__ moment1 = b.moment1;
  float* __restrict__ moment2 = b.moment2;
  float* __restrict__ average = b.average;
  for (std::int64_t i = 0; i < count; ++i) {
    const float g = gradient[i] * u.gradient_scale;
    const float m = u.beta1 * moment1[i] + (1.0f - u.beta1) * g;
    const float v = u.beta2 * moment2[i] + (1.0f - u.beta2) * g * g;
    const float p =
        value[i] * u.keep - u.step_size * m / (std::sqrt(v) * u.root_correction + u.epsilon);
    moment1[i] = m;
    moment2[i] = v;
    value[i] = p;
    average[i] += (1.0f - u.average) * (p - average[i]);
    gradient[i] = 0.0f;
  }
}

#if defined(__x86_64__)
[[gnu::target("avx512f")]] void update_run_avx512(const Buffers& b, std::int64_t count,
                                                  const Update& u) {
  update_run(b, count, u);
}

void update_run_best(const Buffers& b, std::int64_t count, const Update& u) {
  static const bool wide = __builtin_cpu_supports("avx512f") != 0;
  wide ? update_run_avx512(b, count, u) : update_run(b, count, u);
}
#else
void update_run_best(const Buffers& b, std::int64_t count, const Update& u) {
  update_run(b, count, u);
}
#endif

/// The average follows closely while it is young, or it would hold on to the initial values.
double young_average(double decay, std::int64_t step) {
  const auto s = static_cast<double>(step);
  return std::min(decay, (1.0 + s) / (10.0 + s));
}

}  // namespace

std::int64_t FlatAdamW::Segment::size() const {
  return std::accumulate(shape.begin(), shape.end(), std::int64_t{1}, std::multiplies<>());
}

FlatAdamW::FlatAdamW(torch::nn::Module& module, const AdamWOptions& options,
                     const std::function<bool(const std::string&)>& trained)
    : options_(options) {
  std::vector<Tensor> parameters;
  std::int64_t total = 0;
  for (auto& item : module.named_parameters()) {
    const bool wanted = !trained || trained(item.key());
    item.value().requires_grad_(wanted);
    if (!wanted) continue;
    segments_.push_back({.name = item.key(),
                         .begin = total,
                         .shape = item.value().sizes().vec(),
                         .decays = item.value().dim() > 1});
    total += item.value().numel();
    parameters.push_back(item.value());
  }
  if (parameters.empty()) {
    throw Error(ErrorKind::kUsage, "an optimiser was asked for that trains no parameter");
  }
  const torch::NoGradGuard no_grad;
  values_ = torch::empty({total});
  gradients_ = torch::zeros({total});
  moment1_ = torch::zeros({total});
  moment2_ = torch::zeros({total});
  for (std::size_t i = 0; i < segments_.size(); ++i) {
    const auto& s = segments_[i];
    const auto view = values_.narrow(0, s.begin, s.size()).view(s.shape);
    view.copy_(parameters[i]);
    parameters[i].set_data(view);
    parameters[i].mutable_grad() = gradients_.narrow(0, s.begin, s.size()).view(s.shape);
  }
  average_ = values_.clone();
}

double FlatAdamW::step(double learning_rate) {
  ++steps_;
  const double norm = gradients_.norm().item<double>();
  const bool clips = options_.max_norm > 0.0 && norm > options_.max_norm;
  const auto t = static_cast<double>(steps_);
  const double correction1 = 1.0 - std::pow(options_.beta1, t);
  const double correction2 = 1.0 - std::pow(options_.beta2, t);
  Update update{.gradient_scale = static_cast<float>(clips ? options_.max_norm / norm : 1.0),
                .beta1 = static_cast<float>(options_.beta1),
                .beta2 = static_cast<float>(options_.beta2),
                .keep = 1.0f,
                .step_size = static_cast<float>(learning_rate / correction1),
                .root_correction = static_cast<float>(1.0 / std::sqrt(correction2)),
                .epsilon = static_cast<float>(options_.epsilon),
                .average = static_cast<float>(young_average(options_.average, steps_))};
  const auto at = [](const Tensor& flat, std::int64_t begin) {
    return flat.data_ptr<float>() + begin;
  };
  for (const auto& s : segments_) {
    update.keep = s.decays ? static_cast<float>(1.0 - learning_rate * options_.weight_decay) : 1.0f;
    update_run_best({at(values_, s.begin), at(gradients_, s.begin), at(moment1_, s.begin),
                     at(moment2_, s.begin), at(average_, s.begin)},
                    s.size(), update);
  }
  return norm;
}

io::StateDict FlatAdamW::state() const {
  io::StateDict result;
  for (const auto& s : segments_) {
    const auto view = [&s](const Tensor& flat) {
      return flat.narrow(0, s.begin, s.size()).view(s.shape);
    };
    result["value/" + s.name] = view(values_);
    result["moment1/" + s.name] = view(moment1_);
    result["moment2/" + s.name] = view(moment2_);
    result["average/" + s.name] = view(average_);
  }
  return result;
}

void FlatAdamW::load_state(const io::StateDict& state, std::int64_t steps) {
  const torch::NoGradGuard no_grad;
  const auto own = this->state();
  for (const auto& [name, target] : own) {
    const auto found = state.find(name);
    if (found == state.end() || found->second.sizes() != target.sizes()) {
      throw Error(ErrorKind::kMismatch,
                  fmt::format("the checkpoint is of another model: \"{}\" {}", name,
                              found == state.end() ? "is not in it" : "has another shape"));
    }
  }
  for (const auto& [name, target] : own) target.copy_(state.at(name));
  steps_ = steps;
}

void FlatAdamW::swap_average() {
  const torch::NoGradGuard no_grad;
  const auto held = values_.clone();
  values_.copy_(average_);
  average_.copy_(held);
}

}  // namespace mos::pretrain
