#include "mos/diffusion/noise_schedule.h"

#include <fmt/core.h>

#include <cmath>
#include <numbers>

#include "mos/base/error.h"
#include "mos/base/text_distance.h"
#include "mos/checkpoint/parts.h"

namespace mos::diffusion {
namespace {

constexpr std::int64_t kMaxTimesteps = 1'000'000;  // more than any model has, small as a table

[[noreturn]] void refuse(const std::string& what) {
  throw Error(ErrorKind::kFormat, "cannot make a noise schedule: " + what);
}

torch::Tensor even_steps(double first, double last, std::int64_t count) {
  return torch::linspace(first, last, count, torch::kFloat32);
}

/// Nichol and Dhariwal's cosine schedule, β capped at 0.999.
torch::Tensor cosine_betas(std::int64_t count) {
  const auto alpha_bar = [](double t) {
    const double c = std::cos((t + 0.008) / 1.008 * std::numbers::pi / 2);
    return c * c;
  };
  std::vector<double> betas;
  const auto n = static_cast<double>(count);
  for (std::int64_t i = 0; i < count; ++i) {
    const double now = static_cast<double>(i) / n;
    const double next = static_cast<double>(i + 1) / n;
    betas.push_back(std::min(1.0 - alpha_bar(next) / alpha_bar(now), 0.999));
  }
  return torch::tensor(betas, torch::kFloat64).to(torch::kFloat32);
}

torch::Tensor make_betas(const NoiseScheduleOptions& options) {
  const auto count = options.num_train_timesteps;
  if (!options.trained_betas.empty()) {
    return torch::tensor(options.trained_betas, torch::kFloat64).to(torch::kFloat32);
  }
  const double start = options.beta_start;
  const double end = options.beta_end;
  if (options.beta_schedule == "linear") return even_steps(start, end, count);
  if (options.beta_schedule == "scaled_linear") {
    // What Stable Diffusion was trained with: straight in the root of β.
    return even_steps(std::sqrt(start), std::sqrt(end), count).pow(2);
  }
  if (options.beta_schedule == "squaredcos_cap_v2") return cosine_betas(count);
  if (options.beta_schedule == "sigmoid") {
    return torch::sigmoid(even_steps(-6, 6, count)) * (end - start) + start;
  }
  refuse(fmt::format("unknown beta_schedule \"{}\"{}", options.beta_schedule,
                     did_you_mean(options.beta_schedule,
                                  {"linear", "scaled_linear", "squaredcos_cap_v2", "sigmoid"})));
}

void check(const NoiseScheduleOptions& options) {
  const auto count = options.num_train_timesteps;
  if (count < 1 || count > kMaxTimesteps) {
    refuse(fmt::format("num_train_timesteps is {}, expected 1 to {}", count, kMaxTimesteps));
  }
  if (!options.trained_betas.empty()) {
    if (static_cast<std::int64_t>(options.trained_betas.size()) != count) {
      refuse(fmt::format("trained_betas has {} values, expected num_train_timesteps = {}",
                         options.trained_betas.size(), count));
    }
    for (const double beta : options.trained_betas) {
      if (!(beta > 0 && beta < 1)) refuse(fmt::format("a trained beta is {}, not in 0..1", beta));
    }
  } else if (!(options.beta_start > 0 && options.beta_start <= options.beta_end &&
               options.beta_end < 1)) {
    refuse(fmt::format("beta_start is {} and beta_end {}, expected 0 < start <= end < 1",
                       options.beta_start, options.beta_end));
  }
}

/// Algorithm 1 of arXiv 2305.08891.
torch::Tensor rescale_to_zero_snr(const torch::Tensor& betas) {
  auto root = torch::cumprod(1.0 - betas, 0).sqrt();
  const auto first = root[0].clone();
  const auto last = root[-1].clone();
  // The last level becomes pure noise while the first stays as it was.
  root = (root - last) * (first / (first - last));
  const auto alpha_bar = root.pow(2);
  const auto ratios = alpha_bar.slice(0, 1) / alpha_bar.slice(0, 0, -1);
  return 1.0 - torch::cat({alpha_bar.slice(0, 0, 1), ratios});
}

/// values[t] shaped [B,1,1,…] in `like`'s dtype and device.
torch::Tensor gather_like(const torch::Tensor& values, const torch::Tensor& timesteps,
                          const torch::Tensor& like) {
  std::vector<std::int64_t> shape(static_cast<std::size_t>(like.dim()), 1);
  shape.front() = timesteps.size(0);
  // A lookup on the values' device: reading the steps here would wait for it.
  return values.index_select(0, timesteps.to(values.device(), torch::kInt64))
      .view(shape)
      .to(like.options());
}

}  // namespace

PredictionType prediction_type_from(const std::string& name) {
  if (name == "epsilon") return PredictionType::kEpsilon;
  if (name == "v_prediction") return PredictionType::kVelocity;
  if (name == "sample") return PredictionType::kSample;
  throw Error(ErrorKind::kFormat,
              fmt::format("the model is said to predict \"{}\", expected epsilon, v_prediction or "
                          "sample{}",
                          name, did_you_mean(name, {"epsilon", "v_prediction", "sample"})));
}

NoiseSchedule::NoiseSchedule(const NoiseScheduleOptions& options)
    : prediction_type_(options.prediction_type) {
  check(options);
  betas_ = make_betas(options);
  if (options.rescale_betas_zero_snr) betas_ = rescale_to_zero_snr(betas_);
  alphas_cumprod_ = torch::cumprod(1.0 - betas_, 0).contiguous();
}

NoiseSchedule NoiseSchedule::from_config(const Json& config) {
  const NoiseScheduleOptions defaults;
  return NoiseSchedule(NoiseScheduleOptions{
      .num_train_timesteps =
          json_value(config, "num_train_timesteps", defaults.num_train_timesteps),
      .beta_start = json_value(config, "beta_start", defaults.beta_start),
      .beta_end = json_value(config, "beta_end", defaults.beta_end),
      .beta_schedule = json_value(config, "beta_schedule", defaults.beta_schedule),
      .trained_betas = json_value(config, "trained_betas", std::vector<double>{}),
      .prediction_type = prediction_type_from(checkpoint::prediction_type_of(config)),
      .rescale_betas_zero_snr = json_value(config, "rescale_betas_zero_snr", false)});
}

NoiseSchedule NoiseSchedule::to(torch::Device device) const {
  auto moved = *this;
  moved.betas_ = betas_.to(device);
  moved.alphas_cumprod_ = alphas_cumprod_.to(device);
  return moved;
}

float NoiseSchedule::alpha_cumprod(std::int64_t timestep) const {
  TORCH_CHECK(timestep >= 0 && timestep < size(), "timestep ", timestep, " is outside 0..T-1");
  return alphas_cumprod_.data_ptr<float>()[timestep];
}

torch::Tensor NoiseSchedule::sigmas() const {
  return ((1.0 - alphas_cumprod_) / alphas_cumprod_).sqrt();
}

torch::Tensor NoiseSchedule::add_noise(const torch::Tensor& original, const torch::Tensor& noise,
                                       const torch::Tensor& timesteps) const {
  const auto signal = gather_like(alphas_cumprod_.sqrt(), timesteps, original);
  const auto spread = gather_like((1.0 - alphas_cumprod_).sqrt(), timesteps, original);
  // Equation 4 of DDPM (arXiv 2006.11239).
  return signal * original + spread * noise;
}

torch::Tensor NoiseSchedule::velocity(const torch::Tensor& original, const torch::Tensor& noise,
                                      const torch::Tensor& timesteps) const {
  const auto signal = gather_like(alphas_cumprod_.sqrt(), timesteps, original);
  const auto spread = gather_like((1.0 - alphas_cumprod_).sqrt(), timesteps, original);
  // Progressive distillation (arXiv 2202.00512), section 4.
  return signal * noise - spread * original;
}

torch::Tensor NoiseSchedule::target(const torch::Tensor& original, const torch::Tensor& noise,
                                    const torch::Tensor& timesteps) const {
  switch (prediction_type_) {
    case PredictionType::kEpsilon:
      return noise;
    case PredictionType::kVelocity:
      return velocity(original, noise, timesteps);
    case PredictionType::kSample:
      break;
  }
  return original;
}

void NoiseSchedule::keep_last_alpha_positive() {
  // diffusers' value: the smallest number of float16 above 0.
  constexpr float kSmallestHalf = 0x1p-24F;
  alphas_cumprod_ = alphas_cumprod_.clone();  // copies keep theirs
  auto& last = alphas_cumprod_.data_ptr<float>()[size() - 1];
  last = std::max(last, kSmallestHalf);
}

}  // namespace mos::diffusion
