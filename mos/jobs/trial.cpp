#include "mos/jobs/trial.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>

namespace mos::jobs {
namespace {

std::int64_t steps_of(const PaintTrial::Wanted& pass) {
  return std::max<std::int64_t>(1, std::llround(static_cast<double>(pass.steps) * pass.share));
}

/// What needs regions that a search has yet to find goes: the trial has none.
void leave_out_search(region::SamplerOptions& sampler) {
  if (!sampler.auto_regions) return;
  sampler.guide = region::Guide::kNone;
  sampler.guide_scale = region::SamplerOptions().guide_scale;  // there is none without a guide
  sampler.hard_binding = 0;
}

}  // namespace

void PaintTrial::add(const diffusion::DenoiseStep& call, double seconds) {
  if (call.index == 0) passes_.push_back({.first = seconds});
  passes_.back().last = seconds;
  ++passes_.back().calls;
}

double PaintTrial::seconds(const std::vector<Wanted>& passes) const {
  double sum = 0.0;
  for (std::size_t i = 0; i < std::min(passes.size(), passes_.size()); ++i) {
    const auto& [first, last, calls] = passes_[i];
    // Methods that call the network twice in a step do so in all of them.
    const double all = static_cast<double>(steps_of(passes[i]) * calls) /
                       static_cast<double>(std::max<std::int64_t>(1, steps_));
    sum += first + last * std::max(0.0, all - 1.0);
  }
  return sum;
}

std::string PaintTrial::measured(const std::vector<Wanted>& passes) const {
  std::string text = "measured";
  for (std::size_t i = 0; i < std::min(passes.size(), passes_.size()); ++i) {
    const auto steps = steps_of(passes[i]);
    text += fmt::format("{} on {} of {} {}, {:.2f} s each", i == 0 ? "" : ", and",
                        std::min(steps_, steps), steps, i == 0 ? "steps" : "of the second pass",
                        passes_[i].last);
  }
  return text;
}

std::vector<PaintTrial::Wanted> passes_of(const region::SampleOptions& options) {
  const auto& pictures = options.pictures;
  std::vector<PaintTrial::Wanted> passes = {{options.steps, region::strength_of(pictures)}};
  if (pictures.hires != 1.0) passes.push_back({options.steps, pictures.hires_strength});
  return passes;
}

std::int64_t shorten(region::SampleOptions& options, std::int64_t batch) {
  constexpr std::int64_t kTrialSteps = 4;  // as few as PNDM can take
  leave_out_search(options.sampler);
  options.steps = std::min(options.steps, kTrialSteps);
  options.count = std::min(batch, options.count);
  // A share of so few steps can be none.
  auto& pictures = options.pictures;
  if (!pictures.init.empty()) pictures.strength = 1.0;
  if (pictures.hires != 1.0) pictures.hires_strength = 1.0;
  return options.steps;
}

}  // namespace mos::jobs
