#include "mos/studio/process.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <sstream>

#include "mos/base/error.h"
#include "mos/base/file.h"
#include "mos/base/text.h"

namespace mos::studio {
namespace {

namespace fs = std::filesystem;

[[noreturn]] void fail(const std::string& action) {
  throw Error(ErrorKind::kIo, fmt::format("cannot {}: {}", action, std::strerror(errno)));
}

/// As execv takes them; refers to `arguments`.
std::vector<char*> pointers_of(const std::vector<std::string>& arguments) {
  std::vector<char*> pointers;
  for (const auto& argument : arguments) pointers.push_back(const_cast<char*>(argument.c_str()));
  pointers.push_back(nullptr);
  return pointers;
}

/// Two ends of a pipe, of which other programs get none.
struct Pipe {
  std::array<int, 2> ends = {-1, -1};
  Pipe() {
    if (pipe2(ends.data(), O_CLOEXEC) != 0) fail("make a pipe");
  }
  ~Pipe() {
    close_end(0);
    close_end(1);
  }
  Pipe(const Pipe&) = delete;
  Pipe& operator=(const Pipe&) = delete;
  void close_end(std::size_t which) {
    if (ends[which] >= 0) close(ends[which]);
    ends[which] = -1;
  }
};

std::string boot() {
  std::ifstream file("/proc/sys/kernel/random/boot_id");
  std::string id;
  std::getline(file, id);
  return id;
}

// ---- Between fork and exec: nothing here takes memory or locks ----

struct MinderPlan {
  const char* folder;
  const char* output;
  const char* talk;
  const char* end;
  const char* end_growing;
  char* const* arguments;
  int go;     ///< A byte here starts it.
  int ready;  ///< Gets a byte when a signal to the group ends the job.
};

/// Signals as a program expects them, the blocked ones last: what came meanwhile comes now.
void default_signals() {
  for (const int number : {SIGTERM, SIGINT, SIGHUP, SIGPIPE, SIGCHLD}) signal(number, SIG_DFL);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
}

/// The job itself; ends with its minder.
[[noreturn]] void become_job(const MinderPlan& plan) {
  constexpr int kMode = 0644;
  constexpr int kCannotStart = 127;
  prctl(PR_SET_PDEATHSIG, SIGTERM);
  const int output = open(plan.output, O_WRONLY | O_CREAT | O_APPEND, kMode);
  const int talk = open(plan.talk, O_WRONLY | O_CREAT | O_APPEND, kMode);
  const int input = open("/dev/null", O_RDONLY);
  if (output < 0 || talk < 0 || input < 0 || chdir(plan.folder) != 0) _exit(kCannotStart);
  dup2(input, STDIN_FILENO);
  dup2(output, STDOUT_FILENO);
  dup2(talk, STDERR_FILENO);
  default_signals();
  const bool told = write(plan.ready, "r", 1) == 1;
  close_range(STDERR_FILENO + 1, ~0U, 0);
  if (told) execv(plan.arguments[0], plan.arguments);
  _exit(kCannotStart);
}

/// "e000" or "s9" in the file `end`, which appears when it is complete.
void write_end(const MinderPlan& plan, int status) {
  constexpr int kMode = 0644;
  std::array<char, 8> text = {WIFEXITED(status) ? 'e' : 's'};
  unsigned value =
      static_cast<unsigned>(WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status));
  text[1] = static_cast<char>('0' + value / 100 % 10);
  text[2] = static_cast<char>('0' + value / 10 % 10);
  text[3] = static_cast<char>('0' + value % 10);
  const int file = open(plan.end_growing, O_WRONLY | O_CREAT | O_TRUNC, kMode);
  if (file < 0) return;
  const bool whole = write(file, text.data(), 4) == 4 && fsync(file) == 0;
  close(file);
  if (whole) rename(plan.end_growing, plan.end);
}

[[noreturn]] void become_minder(MinderPlan plan) {
  setsid();
  // Ignored here, blocked in the job until it is no longer ignored there: none is lost between.
  sigset_t blocked;
  sigemptyset(&blocked);
  sigaddset(&blocked, SIGTERM);
  sigprocmask(SIG_BLOCK, &blocked, nullptr);
  for (const int number : {SIGTERM, SIGINT, SIGHUP, SIGPIPE}) signal(number, SIG_IGN);
  for (const int number : {SIGUSR1, SIGUSR2}) signal(number, SIG_IGN);  // in the job, too
  signal(SIGCHLD, SIG_DFL);
  constexpr int kReady = STDERR_FILENO + 1;
  // One of the two may lie where the other shall go.
  const int ready = fcntl(plan.ready, F_DUPFD, kReady + 1);
  const int go = dup2(plan.go, STDIN_FILENO);
  if (go < 0 || ready < 0 || dup2(ready, kReady) < 0) _exit(0);
  // Whoever reads what the server says must see its end with the server's, not with the last job's.
  const int nowhere = open("/dev/null", O_WRONLY);
  if (nowhere < 0 || dup2(nowhere, STDOUT_FILENO) < 0 || dup2(nowhere, STDERR_FILENO) < 0) _exit(0);
  close_range(kReady + 1, ~0U, 0);
  char byte = 0;
  if (read(go, &byte, 1) != 1) _exit(0);  // whoever wanted this is gone
  const pid_t job = fork();
  plan.ready = kReady;
  if (job == 0) become_job(plan);
  close(kReady);
  int status = 0;
  while (job > 0 && waitpid(job, &status, 0) < 0 && errno == EINTR) continue;
  write_end(plan, status);
  _exit(0);
}

}  // namespace

ProcessId identify(pid_t number) {
  std::ifstream file(fmt::format("/proc/{}/stat", number));
  std::string line;
  std::getline(file, line);
  const auto name_end = line.rfind(')');  // the name may hold anything
  if (name_end == line.npos) return {number, ""};
  const auto fields = split_words(std::string_view(line).substr(name_end + 1));
  constexpr std::size_t kStartTime = 19;  // field 22 of proc(5), counted from the state
  if (fields.size() <= kStartTime || fields.front() == "Z") return {number, ""};
  return {number, boot() + " " + fields[kStartTime]};
}

bool is_alive(const ProcessId& process) {
  return process.number > 1 && !process.start.empty() &&
         identify(process.number).start == process.start;
}

ProcessId start_lasting(const LastingProcess& process,
                        const std::function<void(const ProcessId&)>& record) {
  const auto growing = process.end.string() + ".part";
  const auto arguments = pointers_of(process.arguments);
  Pipe go, ready;
  const MinderPlan plan{
      process.folder.c_str(), process.output.c_str(), process.talk.c_str(), process.end.c_str(),
      growing.c_str(),        arguments.data(),       go.ends[0],           ready.ends[1]};
  std::error_code ignored;
  fs::remove(process.end, ignored);
  const pid_t minder = fork();
  if (minder < 0) fail("start a process");
  if (minder == 0) {
    close(go.ends[1]);
    become_minder(plan);
  }
  go.close_end(0);
  ready.close_end(1);
  const auto id = identify(minder);
  record(id);  // where it throws, the pipe closes and the minder ends
  if (write(go.ends[1], "g", 1) != 1) fail("start a process");
  // From now on ask_to_end ends it. A job that could not begin closes the pipe without a byte.
  char byte = 0;
  while (read(ready.ends[0], &byte, 1) < 0 && errno == EINTR) continue;
  return id;
}

void ask_to_end(const ProcessId& minder) {
  if (is_alive(minder)) kill(-minder.number, SIGTERM);
}

void tell(const ProcessId& minder, int signal) {
  if (is_alive(minder)) kill(-minder.number, signal);
}

void end_at_once(const ProcessId& minder) {
  if (is_alive(minder)) kill(-minder.number, SIGKILL);
}

void reap(const ProcessId& minder) {
  if (minder.number > 1) waitpid(minder.number, nullptr, WNOHANG);
}

std::optional<ProcessEnd> read_end(const fs::path& end) {
  std::ifstream file(end);
  std::string text;
  if (!std::getline(file, text) || text.size() != 4) return std::nullopt;
  const auto value = number_in<int>(text.substr(1));
  if (!value) return std::nullopt;
  return text.front() == 'e' ? ProcessEnd{*value, 0} : ProcessEnd{-1, *value};
}

namespace {

/// Reads what comes until both streams end or the time is over; whether they ended.
bool read_streams(Pipe& output, Pipe& talk, Captured& captured,
                  std::chrono::steady_clock::time_point until) {
  constexpr std::size_t kMost = 16 << 20;
  const std::array<std::string*, 2> texts = {&captured.output, &captured.talk};
  std::array<pollfd, 2> waited = {{{output.ends[0], POLLIN, 0}, {talk.ends[0], POLLIN, 0}}};
  while (waited[0].fd >= 0 || waited[1].fd >= 0) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
        until - std::chrono::steady_clock::now());
    if (left.count() <= 0) return false;
    if (poll(waited.data(), waited.size(), static_cast<int>(left.count())) < 0 && errno != EINTR) {
      return false;
    }
    for (std::size_t i = 0; i < waited.size(); ++i) {
      if (waited[i].fd < 0 || waited[i].revents == 0) continue;
      std::array<char, 65536> bytes;
      const auto count = read(waited[i].fd, bytes.data(), bytes.size());
      if (count <= 0) waited[i].fd = -1;
      if (count > 0 && texts[i]->size() < kMost) {
        texts[i]->append(bytes.data(), static_cast<std::size_t>(count));
      }
    }
  }
  return true;
}

}  // namespace

Captured run_captured(const std::vector<std::string>& arguments, const fs::path& folder,
                      std::chrono::seconds patience) {
  const auto pointers = pointers_of(arguments);
  Pipe output, talk;
  const pid_t child = fork();
  if (child < 0) fail("start a process");
  if (child == 0) {
    const int input = open("/dev/null", O_RDONLY);
    dup2(input, STDIN_FILENO);
    dup2(output.ends[1], STDOUT_FILENO);
    dup2(talk.ends[1], STDERR_FILENO);
    close_range(STDERR_FILENO + 1, ~0U, 0);  // connections of clients among them
    if (chdir(folder.c_str()) != 0) _exit(127);
    default_signals();
    execv(pointers[0], pointers.data());
    _exit(127);
  }
  output.close_end(1);
  talk.close_end(1);
  Captured captured;
  const auto until = std::chrono::steady_clock::now() + patience;
  if (!read_streams(output, talk, captured, until)) kill(child, SIGKILL);
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) continue;
  captured.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  return captured;
}

fs::path mos_beside_us() {
  std::error_code code;
  const auto us = fs::read_symlink("/proc/self/exe", code);
  if (code) throw Error(ErrorKind::kIo, "cannot find this program: " + code.message());
  return us.parent_path() / "mos";
}

}  // namespace mos::studio
