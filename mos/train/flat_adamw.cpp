#include "mos/train/flat_adamw.h"

#include <ATen/Parallel.h>
#include <fmt/core.h>
#include <torch/nn/module.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <map>
#include <numeric>

#include "mos/base/error.h"
#include "mos/train/muon.h"

namespace mos::train {

using torch::Tensor;

/// What one update does to a run of parameters.
struct Update {
  float gradient_scale, beta1, beta2, keep, step_size, root_correction, epsilon, average;
};

namespace {

constexpr std::int64_t kUpdateGrain = 32768;  // parameters that are worth a thread
constexpr float kMuonMomentum = 0.95F;        // as published

/// bfloat16 as its bits, so that the loops below become vector instructions.
struct Half {
  std::uint16_t bits;
};

[[gnu::always_inline]] inline float load(float x) { return x; }
[[gnu::always_inline]] inline float load(Half x) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(x.bits) << 16);
}
[[gnu::always_inline]] inline void store(float& target, float x) { target = x; }
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

/// Adds the gradients of the replicas, which are zero afterwards; returns the sum of squares.
template <typename T>
[[gnu::always_inline]] inline double gather_run(T* __restrict__ gradient,
                                                const std::vector<T*>& replicas,
                                                std::int64_t count) {
  constexpr std::int64_t kRun = 1024;  // float32 sums stay short
  double total = 0.0;
  for (std::int64_t begin = 0; begin < count; begin += kRun) {
    const auto end = std::min(begin + kRun, count);
    for (T* __restrict__ replica : replicas) {
      for (auto i = begin; i < end; ++i) {
        store(gradient[i], load(gradient[i]) + load(replica[i]));
        replica[i] = T{};
      }
    }
    // One vector of partial sums, which is what lets the loop become vector instructions.
    float sum[16] = {};
    for (auto i = begin; i + 16 <= end; i += 16) {
      for (int j = 0; j < 16; ++j) sum[j] += load(gradient[i + j]) * load(gradient[i + j]);
    }
    for (auto i = begin + (end - begin) / 16 * 16; i < end; ++i) {
      sum[0] += load(gradient[i]) * load(gradient[i]);
    }
    for (const float part : sum) total += static_cast<double>(part);
  }
  return total;
}

#if defined(__x86_64__)
template <typename T>
[[gnu::target("avx512f,avx512bw,avx512vl")]] void update_run_avx512(const Buffers<T>& b,
                                                                    std::int64_t count,
                                                                    const Update& u) {
  update_run(b, count, u);
}
template <typename T>
[[gnu::target("avx512f,avx512bw,avx512vl")]] double gather_run_avx512(
    T* gradient, const std::vector<T*>& replicas, std::int64_t count) {
  return gather_run(gradient, replicas, count);
}
bool has_avx512() {
  static const bool has =
      __builtin_cpu_supports("avx512bw") != 0 && __builtin_cpu_supports("avx512vl") != 0;
  return has;
}
template <typename T>
void update_run_best(const Buffers<T>& b, std::int64_t count, const Update& u) {
  has_avx512() ? update_run_avx512(b, count, u) : update_run(b, count, u);
}
template <typename T>
double gather_run_best(T* gradient, const std::vector<T*>& replicas, std::int64_t count) {
  return has_avx512() ? gather_run_avx512(gradient, replicas, count)
                      : gather_run(gradient, replicas, count);
}
#else
template <typename T>
void update_run_best(const Buffers<T>& b, std::int64_t count, const Update& u) {
  update_run(b, count, u);
}
template <typename T>
double gather_run_best(T* gradient, const std::vector<T*>& replicas, std::int64_t count) {
  return gather_run(gradient, replicas, count);
}
#endif

template <typename T>
T* elements(const Tensor& flat) {
  return static_cast<T*>(flat.data_ptr());
}

template <typename T>
double gather_on_cpu(const Tensor& gradients, const std::vector<Tensor>& replica_gradients) {
  const auto blocks = (gradients.numel() + kUpdateGrain - 1) / kUpdateGrain;
  std::vector<double> squares(static_cast<std::size_t>(blocks));
  at::parallel_for(0, blocks, 1, [&](std::int64_t first, std::int64_t last) {
    for (auto block = first; block < last; ++block) {
      const auto begin = block * kUpdateGrain;
      std::vector<T*> replicas;
      for (const auto& replica : replica_gradients)
        replicas.push_back(elements<T>(replica) + begin);
      squares[static_cast<std::size_t>(block)] =
          gather_run_best(elements<T>(gradients) + begin, replicas,
                          std::min(kUpdateGrain, gradients.numel() - begin));
    }
  });
  return std::accumulate(squares.begin(), squares.end(), 0.0);
}

/// The average follows closely while it is young, or it would hold on to the initial values.
double young_average(double decay, std::int64_t step) {
  const auto s = static_cast<double>(step);
  return std::min(decay, (1.0 + s) / (10.0 + s));
}

}  // namespace

std::int64_t FlatAdamW::Segment::size() const {
  return std::accumulate(shape.begin(), shape.end(), std::int64_t{1}, std::multiplies<>());
}

Tensor FlatAdamW::Segment::of(const Tensor& flat) const {
  return flat.narrow(0, begin, size()).view(shape);
}

FlatAdamW::FlatAdamW(torch::nn::Module& module, const FlatAdamWOptions& options,
                     const std::function<bool(const std::string&)>& trained)
    : options_(options) {
  std::vector<Tensor> parameters;
  std::int64_t total = 0;
  for (auto& item : module.named_parameters()) {
    const bool wanted = !trained || trained(item.key());
    item.value().requires_grad_(wanted);
    if (!wanted) continue;
    segments_.push_back(
        {.name = item.key(),
         .begin = total,
         .shape = item.value().sizes().vec(),
         .decays = item.value().dim() > 1,
         .muon = item.value().dim() > 1 && options_.muon && options_.muon(item.key())});
    total += item.value().numel();
    parameters.push_back(item.value());
  }
  if (parameters.empty()) {
    throw Error(ErrorKind::kUsage, "an optimiser was asked for that trains no parameter");
  }
  const torch::NoGradGuard no_grad;
  const bool copies = options_.working_dtype != torch::kFloat32;
  const auto f32 = torch::dtype(torch::kFloat32).device(parameters.front().device());
  // The loops below are for the CPU.
  if (!f32.device().is_cpu()) options_.passes = FlatAdamWOptions::Passes::kOperators;
  const auto working = f32.dtype(options_.working_dtype);
  values_ = torch::empty({total}, f32);
  working_ = copies ? torch::empty({total}, working) : values_;
  gradients_ = torch::zeros({total}, working);
  moment1_ = torch::zeros({total}, f32);
  moment2_ = torch::zeros({total}, f32);
  for (std::size_t i = 0; i < segments_.size(); ++i) {
    const auto& s = segments_[i];
    s.of(values_).copy_(parameters[i]);
    // The module computes in views of the flat tensors: an update is one pass over memory, whatever
    // the parameters' shapes.
    parameters[i].set_data(s.of(working_));
    parameters[i].mutable_grad() = s.of(gradients_);
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
    own.set_data(s.of(working_));
    own.requires_grad_(true);
    // Defined before the first backward pass, which then adds into it.
    own.mutable_grad() = s.of(gradients);
  }
}

double FlatAdamW::gather_gradients() {
  if (options_.passes == FlatAdamWOptions::Passes::kOwn) {
    return std::sqrt(options_.working_dtype == torch::kFloat32
                         ? gather_on_cpu<float>(gradients_, replica_gradients_)
                         : gather_on_cpu<Half>(gradients_, replica_gradients_));
  }
  for (auto& gradients : replica_gradients_) {
    gradients_.add_(gradients);
    gradients.zero_();
  }
  return gradients_.to(torch::kFloat32).norm().item<double>();
}

double FlatAdamW::step(double learning_rate) {
  const torch::NoGradGuard no_grad;
  ++steps_;
  const double norm = gather_gradients();
  const bool clips = options_.max_norm > 0.0 && norm > options_.max_norm;
  const double scale = clips ? options_.max_norm / norm : 1.0;
  for (const auto& segment : segments_) {
    segment.muon ? update_by_muon(segment, learning_rate, scale)
                 : update(segment, learning_rate, scale);
  }
  return norm;
}

void FlatAdamW::update(const Segment& segment, double learning_rate, double gradient_scale) {
  const auto t = static_cast<double>(steps_);
  const double correction1 = 1.0 - std::pow(options_.beta1, t);
  const double correction2 = 1.0 - std::pow(options_.beta2, t);
  const double decay = segment.decays ? learning_rate * options_.weight_decay : 0.0;
  const Update update{.gradient_scale = static_cast<float>(gradient_scale),
                      .beta1 = static_cast<float>(options_.beta1),
                      .beta2 = static_cast<float>(options_.beta2),
                      .keep = static_cast<float>(1.0 - decay),
                      .step_size = static_cast<float>(learning_rate / correction1),
                      .root_correction = static_cast<float>(1.0 / std::sqrt(correction2)),
                      .epsilon = static_cast<float>(options_.epsilon),
                      .average = static_cast<float>(young_average(options_.average, steps_))};
  if (options_.passes == FlatAdamWOptions::Passes::kOperators) {
    return update_by_operators(segment, update);
  }
  const auto run = [&]<typename T>(T* /*type*/) {
    at::parallel_for(0, segment.size(), kUpdateGrain, [&](std::int64_t first, std::int64_t last) {
      const auto at = segment.begin + first;
      update_run_best(Buffers<T>{elements<float>(values_) + at, elements<T>(working_) + at,
                                 elements<T>(gradients_) + at, elements<float>(moment1_) + at,
                                 elements<float>(moment2_) + at, elements<float>(average_) + at},
                      last - first, update);
    });
  };
  options_.working_dtype == torch::kFloat32 ? run(static_cast<float*>(nullptr))
                                            : run(static_cast<Half*>(nullptr));
}

void FlatAdamW::update_by_operators(const Segment& segment, const Update& u) {
  const auto gradient = segment.of(gradients_).to(torch::kFloat32) * u.gradient_scale;
  auto value = segment.of(values_), average = segment.of(average_);
  auto m = segment.of(moment1_), v = segment.of(moment2_);
  m.lerp_(gradient, 1.0 - u.beta1);
  v.mul_(u.beta2).addcmul_(gradient, gradient, 1.0 - u.beta2);
  value.mul_(u.keep).addcdiv_(m, v.sqrt().mul_(u.root_correction).add_(u.epsilon), -u.step_size);
  finish_update(segment, u.average);
}

void FlatAdamW::update_by_muon(const Segment& segment, double learning_rate,
                               double gradient_scale) {
  const auto gradient = segment.of(gradients_).to(torch::kFloat32) * gradient_scale;
  auto momentum = segment.of(moment1_);
  momentum.lerp_(gradient, 1.0F - kMuonMomentum);
  const auto ahead = gradient.lerp(momentum, kMuonMomentum).flatten(1);  // Nesterov's
  const auto direction = orthogonalised(ahead).view(segment.shape);
  segment.of(values_)
      .mul_(1.0 - learning_rate * options_.weight_decay)
      .sub_(direction, learning_rate * muon_scale(ahead.size(0), ahead.size(1)));
  finish_update(segment, young_average(options_.average, steps_));
}

void FlatAdamW::finish_update(const Segment& segment, double average) {
  const auto value = segment.of(values_);
  segment.of(average_).lerp_(value, 1.0 - average);
  if (!working_.is_same(values_)) segment.of(working_).copy_(value);
  segment.of(gradients_).zero_();
}

io::StateDict FlatAdamW::state() const {
  io::StateDict result;
  for (const auto& s : segments_) {
    result["value/" + s.name] = s.of(values_);
    result["moment1/" + s.name] = s.of(moment1_);
    result["moment2/" + s.name] = s.of(moment2_);
    result["average/" + s.name] = s.of(average_);
  }
  return result;
}

io::StateDict FlatAdamW::state_of(const std::string& prefix) const {
  io::StateDict part;
  for (const auto& [name, tensor] : state()) {
    if (name.starts_with(prefix)) part[name.substr(prefix.size())] = tensor;
  }
  return part;
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

}  // namespace mos::train
