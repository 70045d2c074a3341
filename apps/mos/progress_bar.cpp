#include "progress_bar.h"

#include <fmt/core.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>

#include "mos/base/json.h"
#include "mos/base/log.h"

namespace mos::app {
namespace {

using std::chrono::steady_clock;

constexpr std::chrono::milliseconds kRedraw(100);
constexpr std::chrono::seconds kLogLine(30);
constexpr const char* kClearLine = "\r\x1b[K";

bool has_loss(const Progress& progress) {
  return !std::isnan(progress.loss) && progress.loss != 0.0;
}

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
  if (clock_.note(progress)) {
    if (line_is_open_) log::write("\n");
    line_is_open_ = false;
    drawn_ = {};
  }
  const bool last = progress.step == progress.total;
  const auto now = steady_clock::now();
  if (!last && now - drawn_ < (terminal_ ? steady_clock::duration(kRedraw) : kLogLine)) return;
  drawn_ = now;
  line_is_open_ = terminal_ && !last;
  log::write(fmt::format("{}{}{}", terminal_ ? kClearLine : "", line(progress),
                         line_is_open_ ? "" : "\n"));
}

std::string ProgressBar::line(const Progress& progress) const {
  const auto loss =
      has_loss(progress) ? fmt::format("  loss {:.4f}", progress.loss) : std::string();
  const auto left = clock_.left(progress);
  if (!left) return fmt::format("{} {}{}", progress.stage, progress.step, loss);
  return fmt::format("{} {} {}/{}{}  {} left", progress.stage, bar(progress.step, progress.total),
                     progress.step, progress.total, loss, clock_text(*left));
}

void ProgressLines::operator()(const Progress& progress) {
  const bool begins = clock_.note(progress);
  const auto now = steady_clock::now();
  if (!begins && progress.step != progress.total && now - told_ < kRedraw) return;
  told_ = now;
  const auto left = clock_.left(progress);
  Json json = {{"event", "progress"},
               {"stage", progress.stage},
               {"step", progress.step},
               {"total", progress.total > 0 ? Json(progress.total) : Json()},
               {"loss", has_loss(progress) ? Json(progress.loss) : Json()},
               {"seconds", progress.seconds},
               {"left", left ? Json(*left) : Json()}};
  log::write(json_text(json) + "\n");
}

}  // namespace mos::app
