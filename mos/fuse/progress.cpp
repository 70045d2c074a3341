#include "mos/fuse/progress.h"

#include <cstdint>
#include <limits>

namespace mos::fuse {

void StageProgress::step(const std::string& stage, std::size_t done, std::size_t total) {
  if (cancel_ != nullptr) cancel_->check();
  if (stage != stage_) {
    stage_ = stage;
    began_ = last_;
  }
  last_ = Clock::now();
  if (!tell_) return;
  const std::chrono::duration<double> spent = last_ - began_;
  tell_({.stage = stage,
         .step = static_cast<std::int64_t>(done),
         .total = static_cast<std::int64_t>(total),
         .loss = std::numeric_limits<double>::quiet_NaN(),
         .seconds = spent.count()});
}

}  // namespace mos::fuse
