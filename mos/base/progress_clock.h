#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "mos/base/progress.h"

namespace mos {

/// Follows the stages of a piece of work and says how long each will still take.
class ProgressClock {
 public:
  /// Whether `progress` begins a stage: it has another name, or counts from the start again.
  bool note(const Progress& progress);

  /// Seconds left in its stage; nothing where its length is unknown. Required: note(progress).
  std::optional<double> left(const Progress& progress) const;

 private:
  struct Place {
    std::int64_t first = 0;  ///< Where this run took the stage up, which is not always 0.
    std::int64_t last = 0;
  };
  std::string stage_;
  /// Of all stages: one that another interrupts goes on where it was.
  std::map<std::string, Place> places_;
};

}  // namespace mos
