#include "mos/pretrain/adamw.h"

#include <ATen/Parallel.h>
#include <fmt/core.h>
#include <torch/nn/module.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <map>
#include <numeric>

#include "mos/base/error.h"

namespace mos::pretrain {

using torch::Tensor;

namespace {

constexpr std::int64_t kUpdateGrain = 32768;  // parameters that are worth a thread

/// What one update does to a run of parameters.
struct Update {
  float gradient_scale, beta1, beta2, keep, step_size, root_correction, epsilon, average;
};

/// bfloat16 as its bits, so that the loops below become vector instructions.
struct Half {
  std::uint16_t bits;
};

[[gnu::always_inline]] inline float load(float x) { return x; }
[[gnu::always_inline]] inline float load(Half x) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(x.bits) << 16);
}
[[gnu::always_inline]] inline void store(Half& target, float x) {
  const auto bits = std::bit_cast<std::uint32_t>(x);  // round to nearest even; x is finite
  target.bits = static_cast<std::uint16_t>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

/// `working` is what the module computes with: the values themselves, or their bfloat16 copies.
template <typename T>
struct Buffers {
  float* value;
  T* working;
  T* gradient;
  float* moment1;
  float* moment2;
  float* average;
};

template <typename T>
[[gnu::always_inline]] inline void update_run(const Buffers<T>& b, std::int64_t count,
                                              const Update& u) {
  float* __restrict__ value = b.value;
  [[maybe_unused]] T* __restrict__ working = b.working;
  T* __restrict__ gradient = b.gradient;
  float* __restrict__ moment1 = b.moment1;
  float* __restrict__ moment2 = b.moment2;
  float* __restrict__ average = b.average;
  for (std::int64_t i = 0; i < count; ++i) {
    const float g = load(gradient[i]) * u.gradient_scale;
    const float m = u.beta1 * moment1[i] + (1.0f - u.beta1) * g;
    const float v = u.beta2 * moment2[i] + (1.0f - u.beta2) * g * g;
    const float p =
        value[i] * u.keep - u.step_size * m / (std::sqrt(v) * u.root_correction + u.epsilon);
    moment1[i] = m;
    moment2[i] = v;
    value[i] = p;
    average[i] += (1.0f - u.average) * (p - average[i]);
    if constexpr (!std::is_same_v<T, float>) store(working[i], p);
    gradient[i] = T{};
  }
}

#if defined(__x86_64__)
template <typename T>
[[gnu::target("avx512f,avx512bw,avx512vl")]] void update_run_avx512(const Buffers<T>& b,
                                                                    std::int64_t count,
                                                                    const Update& u) {
  update_run(b, count, u);
}

template <typename T>
void update_run_best(const Buffers<T>& b, std::int64_t count, const Update& u) {
  static const bool wide =
      __builtin_cpu_supports("avx512bw") != 0 && __builtin_cpu_supports("avx512vl") != 0;
  wide ? update_run_avx512(b, count, u) : update_run(b, count, u);
}
#else
template <typename T>
void update_run_best(const Buffers<T>& b, std::int64_t count, const Update& u) {
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
  const bool copies = options_.working_dtype != torch::kFloat32;
  values_ = torch::empty({total});
  working_ = copies ? torch::empty({total}, options_.working_dtype) : values_;
  gradients_ = torch::zeros({total}, options_.working_dtype);
  moment1_ = torch::zeros({total});
  moment2_ = torch::zeros({total});
  for (std::size_t i = 0; i < segments_.size(); ++i) {
    const auto& s = segments_[i];
    const auto view = [&s](const Tensor& flat) {
      return flat.narrow(0, s.begin, s.size()).view(s.shape);
    };
    view(values_).copy_(parameters[i]);
    parameters[i].set_data(view(working_));
    parameters[i].mutable_grad() = view(gradients_);
  }
  working_.copy_(values_);
  average_ = values_.clone();
}

void FlatAdamW::add_replica(torch::nn::Module& module) {
  const torch::NoGradGuard no_grad;
  const auto parameters = module.named_parameters();
  for (auto& item : module.named_parameters()) item.value().requires_grad_(false);
  const auto& gradients = replica_gradients_.emplace_back(torch::zeros_like(gradients_));
  for (const auto& s : segments_) {
    const auto* parameter = parameters.find(s.name);
    if (parameter == nullptr || parameter->sizes() != at::IntArrayRef(s.shape)) {
      throw Error(ErrorKind::kUsage, "a replica must be of the same model: " + s.name);
    }
    auto own = *parameter;
    own.set_data(working_.narrow(0, s.begin, s.size()).view(s.shape));
    own.requires_grad_(true);
    own.mutable_grad() = gradients.narrow(0, s.begin, s.size()).view(s.shape);
  }
}

double FlatAdamW::step(double learning_rate) {
  ++steps_;
  for (auto& gradients : replica_gradients_) {
    gradients_.add_(gradients);
    gradients.zero_();
  }
  const double norm = gradients_.to(torch::kFloat32).norm().item<double>();
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
  const auto buffers_at = [this]<typename T>(std::int64_t begin, T* /*type*/) {
    const auto at = [begin](const Tensor& flat) { return flat.data_ptr<float>() + begin; };
    const auto working_at = [begin](const Tensor& flat) {
      return static_cast<T*>(flat.data_ptr()) + begin;
    };
    return Buffers<T>{at(values_),  working_at(working_), working_at(gradients_),
                      at(moment1_), at(moment2_),         at(average_)};
  };
  for (const auto& s : segments_) {
    update.keep = s.decays ? static_cast<float>(1.0 - learning_rate * options_.weight_decay) : 1.0f;
    at::parallel_for(0, s.size(), kUpdateGrain, [&](std::int64_t first, std::int64_t last) {
      if (options_.working_dtype == torch::kFloat32) {
        update_run_best(buffers_at(s.begin + first, static_cast<float*>(nullptr)), last - first,
                        update);
      } else {
        update_run_best(buffers_at(s.begin + first, static_cast<Half*>(nullptr)), last - first,
                        update);
      }
    });
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
  working_.copy_(values_);
  steps_ = steps;
}

void FlatAdamW::swap_average() {
  const torch::NoGradGuard no_grad;
  const auto held = values_.clone();
  values_.copy_(average_);
  average_.copy_(held);
  working_.copy_(values_);
}

}  // namespace mos::pretrain
