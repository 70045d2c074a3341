#include "mos/base/progress_clock.h"

#include <algorithm>

namespace mos {

bool ProgressClock::note(const Progress& progress) {
  auto& place = places_[progress.stage];
  const bool begins = place.last == 0 || progress.step <= place.last;
  if (begins) place.first = progress.step - 1;
  place.last = progress.step;
  const bool is_another = progress.stage != stage_;
  stage_ = progress.stage;
  return begins || is_another;
}

std::optional<double> ProgressClock::left(const Progress& progress) const {
  if (progress.total <= 0) return std::nullopt;
  // Seconds are of this run: a stage that was taken up begins in its middle.
  const auto first = places_.at(progress.stage).first;
  const auto done = static_cast<double>(std::max<std::int64_t>(1, progress.step - first));
  return progress.seconds / done * static_cast<double>(progress.total - progress.step);
}

}  // namespace mos
