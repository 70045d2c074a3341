#include "terminal.h"

#include <fmt/core.h>
#include <signal.h>
#include <unistd.h>

#include <cmath>
#include <csignal>
#include <memory>
#include <span>

#include "mos/base/error.h"
#include "mos/base/json.h"
#include "mos/base/text.h"
#include "progress_bar.h"

namespace mos::app {
namespace {

CancelToken g_cancel;  // a signal handler reaches nothing else

void cancel_on_signal(int) { g_cancel.cancel(); }

void end_on_signal(int) { ::_exit(exit_code(ErrorKind::kCancelled)); }

Wishes g_wishes;

void wish_on_signal(int number) {
  number == SIGUSR1 ? g_wishes.ask_to_save() : g_wishes.ask_to_show();
}

void write_line(const Json& json) { log::write(json_text(json) + "\n"); }

log::Sink sink_for(ProgressStyle style) {
  if (style == ProgressStyle::kBar) return {};
  return [](log::Level level, std::string_view message) {
    write_line({{"event", "log"},
                {"level", level == log::Level::kWarning ? "warning" : "info"},
                {"message", std::string(message)}});
  };
}

}  // namespace

std::string duration_text(double seconds) {
  const auto whole = std::llround(seconds);
  if (whole < 120) return fmt::format("{} s", whole);
  if (whole < 7200) return fmt::format("{} min", (whole + 30) / 60);
  return fmt::format("{:.1f} h", seconds / 3600.0);
}

Terminal::Terminal(ProgressStyle style) : style_(style), sink_(sink_for(style)) {}

ProgressCallback Terminal::progress() const {
  if (style_ == ProgressStyle::kBar) return ProgressBar();
  return ProgressLines();
}

jobs::JobContext Terminal::context(const std::filesystem::path& config) const {
  return {.progress = progress(),
          .preview = [this](const std::filesystem::path& path) { tell_preview(path); },
          .result = [](const std::string& line) { fmt::print("{}\n", line); },
          .config = config,
          .log = sink_for(style_),
          .cancel = cancel_on_interrupt(),
          .wishes = wishes_of_signals()};
}

void Terminal::tell_preview(const std::filesystem::path& path) const {
  if (style_ == ProgressStyle::kJson) write_line({{"event", "preview"}, {"path", path.string()}});
}

void Terminal::report(std::string_view kind, const std::string& message, int status) const {
  if (style_ == ProgressStyle::kBar) return log::write(fmt::format("mos: {}\n", message));
  write_line({{"event", "error"},
              {"kind", std::string(kind)},
              {"message", message},
              {"exit_code", status}});
}

ProgressStyle progress_style(int argc, char** argv) {
  const std::span<char*> arguments(argv, static_cast<std::size_t>(argc));
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    const std::string_view argument = arguments[i];
    const bool alone = argument == "--progress" && i + 1 < arguments.size();
    if (argument == "--progress=json" || (alone && arguments[i + 1] == std::string_view("json"))) {
      return ProgressStyle::kJson;
    }
  }
  return ProgressStyle::kBar;
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

/// For SIGTERM and, where it is not ignored, SIGHUP: `handler`, and the system's for the second
/// one.
struct sigaction on_end(void (*handler)(int)) {
  struct sigaction action {};
  action.sa_handler = handler;
  action.sa_flags = static_cast<int>(SA_RESETHAND);
  sigaction(SIGTERM, &action, nullptr);
  struct sigaction hangup = action;  // a closed terminal
  if (g_hangup_ignored) hangup.sa_handler = SIG_IGN;
  sigaction(SIGHUP, &hangup, nullptr);
  return action;
}

using Start = void (*)(int, char**, char**);
[[gnu::section(".preinit_array"), gnu::used]] const Start kBeforeLibraries = remember_hangup;

}  // namespace

// Not Ctrl-C: a shell's loop goes on after whoever handles it, and its status is 130 anyway.
void end_on_termination() { on_end(end_on_signal); }

const CancelToken* cancel_on_interrupt() {
  const auto action = on_end(cancel_on_signal);
  sigaction(SIGINT, &action, nullptr);
  std::signal(SIGPIPE, SIG_IGN);  // nobody reads our talk any more: that ends no work
  return &g_cancel;
}

Wishes* wishes_of_signals() {
  struct sigaction action {};
  action.sa_handler = wish_on_signal;
  action.sa_flags = SA_RESTART;
  sigaction(SIGUSR1, &action, nullptr);
  sigaction(SIGUSR2, &action, nullptr);
  return &g_wishes;
}

void Terminal::tell_estimate(const jobs::Estimate& estimate) const {
  if (style_ == ProgressStyle::kJson) {
    write_line({{"event", "estimate"},
                {"seconds", estimate.seconds},
                {"memory", estimate.memory},
                {"measured", estimate.measured}});
  }
  constexpr double kGigabyte = 1e9;
  fmt::print("about {} and {:.1f} GB of memory ({}; nothing was written)\n",
             duration_text(estimate.seconds), static_cast<double>(estimate.memory) / kGigabyte,
             estimate.measured);
}

}  // namespace mos::app
