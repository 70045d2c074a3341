#include "mos/diffusion/scheduler.h"

#include <fmt/core.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "mos/base/error.h"
#include "mos/base/random.h"
#include "mos/base/text_distance.h"
#include "mos/checkpoint/parts.h"
#include "mos/diffusion/consistency.h"
#include "mos/diffusion/ddim.h"
#include "mos/diffusion/ddpm.h"
#include "mos/diffusion/dpm_solver.h"
#include "mos/diffusion/euler.h"
#include "mos/diffusion/pndm.h"
#include "mos/diffusion/sigma/sigma_scheduler.h"

namespace mos::diffusion {
namespace {

torch::Tensor draw_per_picture(std::vector<at::Generator>& generators,
                               const torch::Tensor& sample) {
  if (static_cast<std::int64_t>(generators.size()) != sample.size(0)) {
    throw Error(ErrorKind::kUsage, fmt::format("sampling got {} random generators for {} pictures",
                                               generators.size(), sample.size(0)));
  }
  std::vector<torch::Tensor> noise;
  for (auto& generator : generators) noise.push_back(randn(sample.sizes().slice(1), generator));
  return torch::stack(noise).to(sample.options());
}

/// The row of the class that a config names, or of `name`; DPM-Solver's by its algorithm.
FoundScheduler resolve(const std::string& name, Json& config) {
  const auto wanted = name.empty() ? json_required<std::string>(config, "_class_name") : name;
  const auto found = find_scheduler(wanted);
  if (!found) {
    std::vector<std::string> known = scheduler_names();
    for (const auto& entry : scheduler_table()) known.emplace_back(entry.class_name);
    throw Error(
        ErrorKind::kFormat,
        fmt::format("unknown scheduler \"{}\": expected {} or the diffusers class of one "
                    "of them{}",
                    wanted, fmt::join(scheduler_names(), ", "), did_you_mean(wanted, known)));
  }
  // A name of ours decides over the config's algorithm; a class alone leaves it to the config.
  if (wanted != found->entry->class_name && *found->entry->algorithm != '\0') {
    config["algorithm_type"] = found->entry->algorithm;
  }
  if (found->heun) config["solver_type"] = "heun";
  if (found->third) config["solver_order"] = 3;
  if (wanted != "DPMSolverMultistepScheduler") return *found;
  const auto algorithm = json_value<std::string>(config, "algorithm_type", "dpmsolver++");
  for (const auto& entry : scheduler_table()) {
    // One class of diffusers is several rows here: its algorithm says which.
    if (algorithm == entry.algorithm) return {&entry, ""};
  }
  return *found;
}

void check_options(const FoundScheduler& found, const SchedulerOptions& options) {
  const auto& entry = *found.entry;
  const std::string name = entry.name;
  const auto refuse = [](const std::string& message) { throw Error(ErrorKind::kUsage, message); };
  if (options.eta != 0.0 && name != "ddim") {
    refuse(fmt::format("{} has no eta: use ddim, or leave eta at 0",
                       *entry.class_name == '\0' ? entry.name : entry.class_name));
  }
  if (!options.sigmas.empty() && !entry.has_sigmas()) {
    refuse(
        fmt::format("{} walks the model's own timesteps and has no sigmas; leave out sigmas = "
                    "{}, or take another scheduler, say euler",
                    name, options.sigmas));
  }
  if (const auto sigmas = sigmas_for(found, options.sigmas);
      found.third && !sigmas.empty() && sigmas != "karras") {
    refuse(
        fmt::format("{} has the model's own steps and sigmas karras alone, and sigmas is {}; "
                    "leave it out, or take scheduler {}",
                    found.name(), sigmas, name));
  }
  if (!options.ancestral_eta) return;
  if (!(*options.ancestral_eta >= 0.0 && *options.ancestral_eta <= 1.0)) {
    refuse(fmt::format("ancestral_eta is {}, expected 0 to 1", *options.ancestral_eta));
  }
  if (!found.adds_noise()) {
    refuse(
        fmt::format("{} adds no noise of its own, so it has no ancestral_eta; leave that out, "
                    "or take another scheduler, say euler_a",
                    name));
  }
}

/// The sampler in σ of a row, or null where the row has a class of its own for `sigmas`.
std::unique_ptr<Scheduler> make_sigma_scheduler(const FoundScheduler& found,
                                                const SchedulerOptions& options,
                                                const std::string& sigmas,
                                                SchedulerConfig& config) {
  const auto& entry = *found.entry;
  const std::string name = entry.name;
  // These have a class of their own as long as the model's own σ are asked for, which gives
  // diffusers' results to the bit.
  const bool has_own = name == "euler" || name == "dpm++" || name == "dpm++2m_sde" || name == "lcm";
  // diffusers' SDE has no η below 1.
  const bool is_sde = name == "dpm++2m_sde" && options.ancestral_eta.value_or(1.0) != 1.0;
  if (!entry.has_sigmas() || (sigmas.empty() && has_own && !is_sde)) return nullptr;
  SigmaMethodOptions how;
  how.eta = options.ancestral_eta.value_or(1.0);
  how.bh1 = found.bh1;
  if (name == "dpm++2m_sde") {
    how.heun = config.take<std::string>("solver_type", "midpoint") == "heun";
  }
  return std::make_unique<SigmaScheduler>(
      config,
      SigmaRecipe{*entry.class_name == '\0' ? name : entry.class_name, entry.method, sigmas, how});
}

std::unique_ptr<Scheduler> make_own_class(const std::string& class_name, SchedulerConfig& config,
                                          const SchedulerOptions& options) {
  constexpr double kTcdNoise = 0.3;  // diffusers' default
  if (class_name == "DDPMScheduler") return std::make_unique<DDPMScheduler>(config);
  if (class_name == "DDIMScheduler") return std::make_unique<DDIMScheduler>(config, options.eta);
  if (class_name == "EulerDiscreteScheduler") {
    return std::make_unique<EulerDiscreteScheduler>(config);
  }
  if (class_name == "PNDMScheduler") return std::make_unique<PNDMScheduler>(config);
  if (class_name == "LCMScheduler") return std::make_unique<LCMScheduler>(config);
  if (class_name == "TCDScheduler") {
    return std::make_unique<TCDScheduler>(config, options.ancestral_eta.value_or(kTcdNoise));
  }
  return std::make_unique<DPMSolverMultistepScheduler>(config);
}

}  // namespace

NoiseSource::NoiseSource(at::Generator* generator) {
  if (generator == nullptr) return;
  draw_ = [generator](const torch::Tensor& sample) {
    return randn(sample.sizes(), *generator).to(sample.options());
  };
}

NoiseSource::NoiseSource(std::vector<at::Generator> one_per_picture)
    : draw_([generators = std::move(one_per_picture)](const torch::Tensor& sample) mutable {
        return draw_per_picture(generators, sample);
      }) {}

NoiseSource::NoiseSource(torch::Tensor given)
    : draw_([given = std::move(given)](const torch::Tensor& sample) {
        return given.to(sample.options());
      }) {}

NoiseSource::NoiseSource(std::function<torch::Tensor(const torch::Tensor&)> draw)
    : draw_([draw = std::move(draw)](const torch::Tensor& sample) {
        return draw(sample).to(sample.options());
      }) {}

torch::Tensor NoiseSource::like(const torch::Tensor& sample) const {
  if (!draw_) {
    throw Error(ErrorKind::kUsage, "this scheduler adds noise at every step: give it a generator");
  }
  return draw_(sample);
}

NoiseSource NoiseSource::with_path(Path path) const {
  auto with = *this;
  with.path_ = std::move(path);
  return with;
}

torch::Tensor NoiseSource::over(const NoiseSpan& span, const torch::Tensor& sample) const {
  return has_path() ? path_(span, sample).to(sample.options()) : like(sample);
}

void Scheduler::set_timesteps(std::int64_t steps) {
  if (steps < 1 || steps > schedule_.size()) {
    throw Error(ErrorKind::kUsage, fmt::format("cannot sample in {} steps: expected 1 to {}", steps,
                                               schedule_.size()));
  }
  // Checked here and not in each plan(): an offset may push any of them out of the table.
  auto planned = plan(steps);
  for (const double timestep : planned) {
    if (timestep < 0 || timestep > static_cast<double>(schedule_.size() - 1)) {
      throw Error(ErrorKind::kUsage,
                  fmt::format("{} steps reach timestep {}, but {} has 0 to {}: take fewer steps",
                              steps, timestep, class_name(), schedule_.size() - 1));
    }
  }
  timesteps_ = std::move(planned);
}

torch::Tensor Scheduler::scale_model_input(const torch::Tensor& sample,
                                           std::int64_t /*index*/) const {
  return sample;
}

std::vector<std::int64_t> Scheduler::step_starts() const {
  std::vector<std::int64_t> starts(timesteps_.size());
  std::iota(starts.begin(), starts.end(), 0);
  return starts;
}

std::int64_t Scheduler::step_of(std::int64_t call) const {
  const auto starts = step_starts();
  return std::upper_bound(starts.begin(), starts.end(), call) - starts.begin() - 1;
}

torch::Tensor Scheduler::noised(const torch::Tensor& original, const torch::Tensor& noise,
                                std::int64_t index) const {
  const float alpha = schedule_.alpha_cumprod(timestep_at(index));
  return std::sqrt(alpha) * original + std::sqrt(1.0F - alpha) * noise;
}

std::int64_t Scheduler::timestep_at(std::int64_t index) const {
  TORCH_CHECK(index >= 0 && index < static_cast<std::int64_t>(timesteps_.size()), "step ", index,
              " is outside the ", timesteps_.size(), " planned ones; call set_timesteps first");
  return static_cast<std::int64_t>(timesteps_[static_cast<std::size_t>(index)]);
}

std::unique_ptr<Scheduler> make_scheduler(const std::string& name, const Json& config,
                                          const SchedulerOptions& options) {
  if (!config.is_object()) {
    throw Error(ErrorKind::kFormat, "a scheduler config must be a JSON object of options");
  }
  Json values = config;
  const auto found = resolve(name, values);
  const auto& entry = *found.entry;
  check_options(found, options);
  auto sigmas = sigmas_for(found, options.sigmas);
  if (found.third && !sigmas.empty()) {  // its class has diffusers' own
    values["use_karras_sigmas"] = true;
    sigmas.clear();
  }
  SchedulerConfig reader(std::move(values),
                         *entry.class_name == '\0' ? entry.name : entry.class_name);
  try {
    auto scheduler = make_sigma_scheduler(found, options, sigmas, reader);
    if (scheduler == nullptr) scheduler = make_own_class(entry.class_name, reader, options);
    reader.refuse_unknown();
    return scheduler;
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::kFormat) throw;
    // The options were checked above: what is left is the file's fault.
    throw Error(error.kind(),
                fmt::format("{} of the model: {}", checkpoint::kSchedulerFile, error.what()));
  }
}

std::vector<double> linspace(double first, double last, std::int64_t count) {
  std::vector<double> values;
  const double step = count > 1 ? (last - first) / static_cast<double>(count - 1) : 0.0;
  for (std::int64_t i = 0; i < count; ++i) {
    values.push_back(static_cast<double>(i) * step + first);
  }
  // numpy ends exactly there; i · step would miss it by rounding.
  if (count > 1) values.back() = last;
  return values;
}

std::vector<double> arange_down(double start, double step) {
  const auto count = static_cast<std::int64_t>(std::ceil(start / step));
  const double delta = (start - step) - start;  // numpy's own rounding
  std::vector<double> values;
  for (std::int64_t i = 0; i < count; ++i) values.push_back(start + static_cast<double>(i) * delta);
  return values;
}

std::vector<double> spaced_timesteps(TimestepSpacing spacing, std::int64_t train_steps,
                                     std::int64_t steps, std::int64_t offset) {
  const auto total = static_cast<double>(train_steps);
  std::vector<double> timesteps;
  switch (spacing) {
    case TimestepSpacing::kLinspace:
      for (const double t : linspace(0, total - 1, steps)) timesteps.push_back(std::nearbyint(t));
      std::reverse(timesteps.begin(), timesteps.end());
      break;
    case TimestepSpacing::kLeading:
      for (std::int64_t i = steps - 1; i >= 0; --i) {
        // Whole numbers divided: with 30 of 1000 steps the last one is not 999 but 958 (as
        // diffusers).
        timesteps.push_back(static_cast<double>(i * (train_steps / steps) + offset));
      }
      break;
    case TimestepSpacing::kTrailing:
      for (const double t : arange_down(total, total / static_cast<double>(steps))) {
        timesteps.push_back(std::nearbyint(t) - 1);
      }
      break;
  }
  return timesteps;
}

/// Equation 5 of arXiv 2206.00364.
std::vector<double> karras_sigmas(double sigma_min, double sigma_max, std::int64_t count) {
  constexpr double kRho = 7.0;
  const double low = std::pow(sigma_min, 1 / kRho);
  const double high = std::pow(sigma_max, 1 / kRho);
  auto sigmas = linspace(0, 1, count);
  for (auto& sigma : sigmas) sigma = std::pow(high + sigma * (low - high), kRho);
  return sigmas;
}

double timestep_of_sigma(double sigma, const std::vector<double>& log_sigmas) {
  const double wanted = std::log(sigma);
  // Logarithms fall into the table of the training levels, which rise; between two of them the
  // timestep is interpolated.
  const auto above = std::upper_bound(log_sigmas.begin(), log_sigmas.end(), wanted);
  const auto count = static_cast<std::ptrdiff_t>(log_sigmas.size());
  if (count == 1) return 0.0;
  const auto low = std::clamp<std::ptrdiff_t>(above - log_sigmas.begin() - 1, 0, count - 2);
  const double below = log_sigmas[static_cast<std::size_t>(low)];
  const double beyond = log_sigmas[static_cast<std::size_t>(low + 1)];
  const double weight = std::clamp((below - wanted) / (below - beyond), 0.0, 1.0);
  return (1 - weight) * static_cast<double>(low) + weight * static_cast<double>(low + 1);
}

/// Schedulers keep their tables in float32, as numpy has them in diffusers: in float64 long runs
/// would end in other pictures.
std::vector<float> floats_of(const torch::Tensor& values) {
  const auto flat = values.to(torch::kCPU, torch::kFloat32).contiguous();
  const auto* data = flat.data_ptr<float>();
  return {data, data + flat.numel()};
}

SampleClipping SampleClipping::take_from(SchedulerConfig& config, bool clip_by_default) {
  SampleClipping clipping;
  clipping.thresholding = config.take("thresholding", false);
  clipping.dynamic_thresholding_ratio = config.take("dynamic_thresholding_ratio", 0.995);
  clipping.sample_max_value = config.take("sample_max_value", 1.0);
  if (clip_by_default) {
    clipping.clip_sample = config.take("clip_sample", true);
    clipping.clip_sample_range = config.take("clip_sample_range", 1.0);
  }
  return clipping;
}

torch::Tensor SampleClipping::apply(const torch::Tensor& sample) const {
  if (!thresholding) {
    return clip_sample ? sample.clamp(-clip_sample_range, clip_sample_range) : sample;
  }
  const auto flat = sample.to(torch::kFloat32).flatten(1);
  // Imagen's dynamic thresholding (arXiv 2205.11487, section 2.3).
  const auto limit = torch::quantile(flat.abs(), dynamic_thresholding_ratio, 1, /*keepdim=*/true)
                         .clamp_min(1.0)
                         .clamp_max(sample_max_value);
  const auto kept = torch::minimum(torch::maximum(flat, -limit), limit) / limit;
  return kept.view_as(sample).to(sample.scalar_type());
}

Prediction predict(PredictionType type, const torch::Tensor& model_output,
                   const torch::Tensor& sample, float alpha_cumprod) {
  // x_t = √ᾱ x0 + √(1-ᾱ) ε and v = √ᾱ ε - √(1-ᾱ) x0, solved for x0 and ε.
  const float signal = std::sqrt(alpha_cumprod);
  const float spread = std::sqrt(1.0F - alpha_cumprod);
  switch (type) {
    case PredictionType::kEpsilon:
      return {(sample - spread * model_output) / signal, model_output};
    case PredictionType::kVelocity:
      return {signal * sample - spread * model_output, signal * model_output + spread * sample};
    case PredictionType::kSample:
      break;
  }
  return {model_output, (sample - signal * model_output) / spread};
}

}  // namespace mos::diffusion
