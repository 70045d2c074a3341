#pragma once

#include <chrono>
#include <cstddef>
#include <string>

#include "mos/base/progress.h"

namespace mos::fuse {

/// Reports the steps of stage after stage, each with the time that its stage has taken: a stage
/// begins where the one before has told its last step.
class StageProgress {
 public:
  /// Refers to both; `cancel` may be null.
  StageProgress(const ProgressCallback& tell, const CancelToken* cancel)
      : tell_(tell), cancel_(cancel) {}

  /// After step `done`, 1 … total. Throws mos::Error(kCancelled).
  void step(const std::string& stage, std::size_t done, std::size_t total);

  const CancelToken* cancel() const { return cancel_; }

 private:
  using Clock = std::chrono::steady_clock;

  const ProgressCallback& tell_;
  const CancelToken* cancel_;
  std::string stage_;
  Clock::time_point began_ = Clock::now();  ///< Of the stage.
  Clock::time_point last_ = began_;         ///< Of the last step.
};

}  // namespace mos::fuse
