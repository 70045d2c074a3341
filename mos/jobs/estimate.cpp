#include "mos/jobs/estimate.h"

#include <utility>

#include "mos/base/runtime.h"

namespace mos::jobs {

Estimate estimate_of(double seconds, std::string measured) {
  return {.seconds = seconds, .memory = peak_memory(), .measured = std::move(measured)};
}

}  // namespace mos::jobs
