#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

#include "mos/base/progress.h"

namespace mos::app {

/// Follows the stages of a piece of work and says how long each will still take.
class StageClock {
 public:
  /// Whether `progress` begins a stage: it has another name, or counts from the start again.
  bool note(const Progress& progress);

  /// Seconds left in its stage; nothing where its length is unknown. Required: note(progress).
  std::optional<double> left(const Progress& progress) const;

 private:
  std::string stage_;
  std::int64_t first_step_ = 0;  ///< Where this run took the stage up, which is not always 0.
  std::int64_t last_step_ = 0;
};

/// One line on stderr for the stage at work: a bar, the loss if there is one, the time left. It is
/// drawn over itself on a terminal; elsewhere (a log file) a new line comes every half minute.
class ProgressBar {
 public:
  ProgressBar();
  void operator()(const Progress& progress);

 private:
  std::string line(const Progress& progress) const;

  bool terminal_;
  StageClock clock_;
  bool line_is_open_ = false;
  std::chrono::steady_clock::time_point drawn_;
};

/// The same for programs: JSON objects, one a line (docs/progress.md). Steps come ten times a
/// second at most; the last one of a stage always does.
class ProgressLines {
 public:
  void operator()(const Progress& progress);

 private:
  StageClock clock_;
  std::chrono::steady_clock::time_point told_;
};

}  // namespace mos::app
