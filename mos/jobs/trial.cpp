#include "mos/jobs/trial.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>

namespace mos::jobs {
namespace {

std::int64_t steps_of(const PaintTrial::Wanted& pass) {
  return std::max<std::int64_t>(1, std::llround(static_cast<double>(pass.steps) * pass.share));
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

}  // namespace mos::jobs
