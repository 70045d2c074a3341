#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

/// Processes of the studio: jobs, which outlive it, and short helpers, which do not.
namespace mos::studio {

/// A process, known again after its number was given to another one.
struct ProcessId {
  pid_t number = 0;
  std::string start;  ///< When it began, with the boot of the system.
};

/// Of a process that there is now; `start` is empty where there is none.
ProcessId identify(pid_t number);
bool is_alive(const ProcessId& process);

struct LastingProcess {
  std::vector<std::string> arguments;  ///< The program first.
  std::filesystem::path folder;        ///< Where it runs.
  std::filesystem::path output, talk;  ///< stdout and stderr are added to these files.
  std::filesystem::path end;           ///< Gets how it ended, when it has; see read_end.
};

/// Starts it under a minder, a small process of its own session that waits for it and writes how it
/// ended, so that this is known whatever became of us. It begins once `record`, which is given the
/// minder, has returned, and never when we die before. Throws kIo.
ProcessId start_lasting(const LastingProcess& process,
                        const std::function<void(const ProcessId&)>& record);

/// Asks it to end. Its minder does not hear it.
void ask_to_end(const ProcessId& minder);
/// Tells it what `signal` means to it: SIGUSR1 or SIGUSR2, which a job that knows neither passes
/// over.
void tell(const ProcessId& minder, int signal);
/// Ends it and its minder at once.
void end_at_once(const ProcessId& minder);

/// Lets the system forget a minder of ours that has ended.
void reap(const ProcessId& minder);

struct ProcessEnd {
  int exit_code = 0;  ///< -1: by a signal.
  int signal = 0;
};
/// What its minder has written; nothing while it runs or when the minder was ended too.
std::optional<ProcessEnd> read_end(const std::filesystem::path& end);

struct Captured {
  int exit_code = 0;  ///< -1: ended by a signal or for its time.
  std::string output, talk;
};
/// Runs a short program to its end. Of each stream 16 MB are kept. Throws kIo.
Captured run_captured(const std::vector<std::string>& arguments,
                      const std::filesystem::path& folder, std::chrono::seconds patience);

/// The program `mos` beside this one.
std::filesystem::path mos_beside_us();

}  // namespace mos::studio
