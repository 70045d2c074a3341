#pragma once

#include <filesystem>
#include <functional>
#include <string>

#include "mos/base/log.h"
#include "mos/base/progress.h"
#include "mos/base/wishes.h"

/// Work as a library: a job is a struct whose fields are described (mos/base/describe.h), check()
/// says whether its values are possible, run() does it. A command line, a studio or another program
/// fills the struct, from flags or JSON, and listens to a JobContext. Jobs may run on several
/// threads at the same time, each with its own context.
namespace mos::jobs {

/// Who listens to a job. Everything may be left empty. Callbacks are called by the thread that runs
/// the job; what they throw ends it.
struct JobContext {
  ProgressCallback progress;  ///< After each step.
  /// A picture that shows how the work stands, as soon as it is on disk.
  std::function<void(const std::filesystem::path&)> preview;
  /// What came out, a line each: the path of a file that is complete, or a sentence with figures.
  std::function<void(const std::string&)> result;
  /// The file that the job was read from, if any: no result takes its place.
  std::filesystem::path config;
  log::Sink log;                        ///< Talk for people; empty: stderr.
  const CancelToken* cancel = nullptr;  ///< Ends the work at its next step with kCancelled.
  Wishes* wishes = nullptr;             ///< Tuning saves and shows what it has when asked to.
};

/// Gives `line` to whoever listens for results.
inline void tell_result(const JobContext& context, const std::string& line) {
  if (context.result) context.result(line);
}

}  // namespace mos::jobs
