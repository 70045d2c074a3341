#pragma once

#include <chrono>
#include <cstdint>
#include <limits>

#include "mos/diffusion/denoise.h"
#include "terminal.h"

namespace mos::app {

/// One bar over the denoising steps of all batches.
class PaintProgress {
 public:
  explicit PaintProgress(std::int64_t batches) : batches_(batches) {}

  diffusion::StepCallback of_batch(std::int64_t batch) {
    return [this, batch](const diffusion::DenoiseStep& step) {
      const std::chrono::duration<double> spent = std::chrono::steady_clock::now() - start_;
      bar_({.stage = "painting",
            .step = batch * step.total + step.index + 1,
            .total = batches_ * step.total,
            .loss = std::numeric_limits<double>::quiet_NaN(),
            .seconds = spent.count()});
    };
  }

 private:
  std::int64_t batches_;
  ProgressBar bar_;
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

}  // namespace mos::app
