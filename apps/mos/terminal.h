#pragma once

#include <chrono>
#include <cstdint>
#include <string>

#include "mos/base/progress.h"

/// What all commands share with the person in front of the terminal.
namespace mos::app {

/// One line on stderr for the stage at work: a bar, the loss if there is one, the time left. It is
/// drawn over itself on a terminal; elsewhere (a log file) a new line comes every half minute. A
/// copy of it is a ProgressCallback.
class ProgressBar {
 public:
  ProgressBar();
  void operator()(const Progress& progress);

 private:
  void begin_stage(const Progress& progress);
  std::string line(const Progress& progress) const;

  bool terminal_;
  std::string stage_;
  std::int64_t first_step_ = 0;  ///< Where this run took the stage up, which is not always 0.
  std::int64_t last_step_ = 0;
  bool line_is_open_ = false;
  std::chrono::steady_clock::time_point drawn_;
};

/// The token that Ctrl-C, SIGTERM and a closed terminal (SIGHUP, unless nohup has it ignored)
/// cancel from now on, so that work ends at its next step and cleans up. A second one ends the
/// program at once.
const CancelToken* cancel_on_interrupt();

}  // namespace mos::app
