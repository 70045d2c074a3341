#include "terminal.h"

#include <fmt/core.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <csignal>

#include "mos/base/log.h"

namespace mos::app {
namespace {

using std::chrono::steady_clock;

constexpr std::chrono::milliseconds kRedraw(100);
constexpr std::chrono::seconds kLogLine(30);
constexpr const char* kClearLine = "\r\x1b[K";

CancelToken g_cancel;  // a signal handler reaches nothing else

void cancel_on_signal(int) { g_cancel.cancel(); }

/// "1:02:03", or "2:03" below an hour.
std::string clock_text(double seconds) {
  const auto whole = static_cast<std::int64_t>(std::lround(seconds));
  const auto minutes = whole / 60 % 60;
  if (whole < 3600) return fmt::format("{}:{:02}", minutes, whole % 60);
  return fmt::format("{}:{:02}:{:02}", whole / 3600, minutes, whole % 60);
}

std::string bar(std::int64_t step, std::int64_t total) {
  constexpr std::int64_t kWidth = 30;
  const auto filled = std::clamp<std::int64_t>(kWidth * step / total, 0, kWidth);
  return fmt::format("[{:<{}}]", std::string(static_cast<std::size_t>(filled), '#'), kWidth);
}

}  // namespace

ProgressBar::ProgressBar() : terminal_(isatty(STDERR_FILENO) == 1) {}

void ProgressBar::operator()(const Progress& progress) {
  if (progress.stage != stage_ || progress.step <= last_step_) begin_stage(progress);
  last_step_ = progress.step;
  const bool last = progress.step == progress.total;
  const auto now = steady_clock::now();
  if (!last && now - drawn_ < (terminal_ ? steady_clock::duration(kRedraw) : kLogLine)) return;
  drawn_ = now;
  line_is_open_ = terminal_ && !last;
  log::write(fmt::format("{}{}{}", terminal_ ? kClearLine : "", line(progress),
                         line_is_open_ ? "" : "\n"));
}

void ProgressBar::begin_stage(const Progress& progress) {
  if (line_is_open_) log::write("\n");
  line_is_open_ = false;
  stage_ = progress.stage;
  first_step_ = progress.step - 1;
  drawn_ = {};
}

std::string ProgressBar::line(const Progress& progress) const {
  const auto loss = std::isnan(progress.loss) || progress.loss == 0.0
                        ? std::string()
                        : fmt::format("  loss {:.4f}", progress.loss);
  if (progress.total <= 0) return fmt::format("{} {}{}", progress.stage, progress.step, loss);
  const auto done = static_cast<double>(std::max<std::int64_t>(1, progress.step - first_step_));
  const double left = progress.seconds / done * static_cast<double>(progress.total - progress.step);
  return fmt::format("{} {} {}/{}{}  {} left", progress.stage, bar(progress.step, progress.total),
                     progress.step, progress.total, loss, clock_text(left));
}

namespace {

bool g_hangup_ignored = false;

/// Whoever starts us says with this that a closed terminal ends nothing (nohup). Looked at before
/// libraries are set up: UCX, which Debian 13's LibTorch brings along, takes SIGHUP for itself.
void remember_hangup(int, char**, char**) {
  struct sigaction before {};
  sigaction(SIGHUP, nullptr, &before);
  g_hangup_ignored = before.sa_handler == SIG_IGN;
}

using Start = void (*)(int, char**, char**);
[[gnu::section(".preinit_array"), gnu::used]] const Start kBeforeLibraries = remember_hangup;

}  // namespace

const CancelToken* cancel_on_interrupt() {
  struct sigaction action {};
  action.sa_handler = cancel_on_signal;
  action.sa_flags = static_cast<int>(SA_RESETHAND);  // the second one is the system's
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
  struct sigaction hangup = action;  // a closed terminal
  if (g_hangup_ignored) hangup.sa_handler = SIG_IGN;
  sigaction(SIGHUP, &hangup, nullptr);
  std::signal(SIGPIPE, SIG_IGN);  // nobody reads our talk any more: that ends no work
  return &g_cancel;
}

}  // namespace mos::app
