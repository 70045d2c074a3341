#include "trial.h"

#include <fmt/core.h>

#include <cmath>

#include "mos/base/runtime.h"

namespace mos::app {
namespace {

std::string duration_text(double seconds) {
  const auto whole = std::llround(seconds);
  if (whole < 120) return fmt::format("{} s", whole);
  if (whole < 7200) return fmt::format("{} min", (whole + 30) / 60);
  return fmt::format("{:.1f} h", seconds / 3600.0);
}

}  // namespace

double Stopwatch::lap() {
  const auto now = std::chrono::steady_clock::now();
  const std::chrono::duration<double> spent = now - start_;
  start_ = now;
  return spent.count();
}

void print_estimate(double seconds, const std::string& measured) {
  constexpr double kGigabyte = 1e9;
  fmt::print("about {} and {:.1f} GB of memory ({}; nothing was written)\n", duration_text(seconds),
             static_cast<double>(peak_memory()) / kGigabyte, measured);
}

}  // namespace mos::app
