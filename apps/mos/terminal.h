#pragma once

#include <array>
#include <filesystem>
#include <string>
#include <string_view>

#include "mos/base/choice.h"
#include "mos/base/log.h"
#include "mos/base/progress.h"
#include "mos/jobs/context.h"
#include "mos/jobs/estimate.h"

/// What all commands share with the person, or the program, in front of the terminal.
namespace mos::app {

/// How a command tells how far it is.
enum class ProgressStyle {
  kBar,   ///< For people.
  kJson,  ///< For programs: all that is said on stderr is JSON, one object a line.
};
constexpr auto choice_names(ProgressStyle) {
  return std::to_array<Named<ProgressStyle>>(
      {{"bar", ProgressStyle::kBar}, {"json", ProgressStyle::kJson}});
}

/// "40 s", "12 min", "3.1 h".
std::string duration_text(double seconds);

class Terminal {
 public:
  explicit Terminal(ProgressStyle style);

  ProgressCallback progress() const;

  /// Results to stdout, progress, previews and talk to stderr; cancelled as cancel_on_interrupt()
  /// says.
  jobs::JobContext context(const std::filesystem::path& config = {}) const;

  /// "about 12 min and 3.1 GB of memory" on stdout, with what was measured to say so.
  void tell_estimate(const jobs::Estimate& estimate) const;

  /// The last word of a command that failed: its message and, for programs, who can mend it and the
  /// exit code.
  void report(std::string_view kind, const std::string& message, int status) const;

 private:
  void tell_preview(const std::filesystem::path& path) const;

  ProgressStyle style_;
  log::ScopedSink sink_;
};

/// What --progress says, before flags are read: a failure to read them is told as it asks. What is
/// neither becomes kBar here and an error there.
ProgressStyle progress_style(int argc, char** argv);

/// From now on SIGTERM and a closed terminal (SIGHUP, unless nohup has it ignored) end the program
/// at once as Ctrl-C does, with the exit code of what was interrupted: for what writes no files.
void end_on_termination();

/// The token that Ctrl-C, SIGTERM and a closed terminal (SIGHUP, unless nohup has it ignored)
/// cancel from now on, so that work ends at its next step and cleans up. A second one ends the
/// program at once.
const CancelToken* cancel_on_interrupt();

/// From now on SIGUSR1 asks for a checkpoint and SIGUSR2 for sample pictures at the next step.
Wishes* wishes_of_signals();

}  // namespace mos::app
