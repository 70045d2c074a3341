#pragma once

#include <chrono>
#include <string>

#include "mos/base/progress.h"
#include "mos/base/progress_clock.h"

namespace mos::app {

/// One line on stderr for the stage at work: a bar, the loss if there is one, the time left. It is
/// drawn over itself on a terminal; elsewhere (a log file) a new line comes every half minute.
class ProgressBar {
 public:
  ProgressBar();
  void operator()(const Progress& progress);

 private:
  std::string line(const Progress& progress) const;

  bool terminal_;
  ProgressClock clock_;
  bool line_is_open_ = false;
  std::chrono::steady_clock::time_point drawn_;
};

/// The same for programs: JSON objects, one a line (docs/progress.md). Steps come ten times a
/// second at most; the last one of a stage always does.
class ProgressLines {
 public:
  void operator()(const Progress& progress);

 private:
  ProgressClock clock_;
  std::chrono::steady_clock::time_point told_;
};

}  // namespace mos::app
