#include "mos/jobs/estimate.h"

#include <utility>

#include "mos/base/runtime.h"

namespace mos::jobs {

Estimate estimate_of(double seconds, std::string measured) {
  return {.seconds = seconds, .memory = peak_memory(), .measured = std::move(measured)};
}

double Stopwatch::lap() {
  const auto now = std::chrono::steady_clock::now();
  const std::chrono::duration<double> spent = now - start_;
  start_ = now;
  return spent.count();
}

}  // namespace mos::jobs
