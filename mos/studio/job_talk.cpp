#include "mos/studio/job_talk.h"

#include <fstream>
#include <limits>

#include "mos/base/error.h"
#include "mos/base/text.h"

namespace mos::studio {
namespace {

Json event_of(const std::string& line) {
  try {
    auto event = parse_json(line, "a line");
    if (event.is_object() && event.contains("event") && event["event"].is_string()) return event;
  } catch (const Error&) {  // talk of a library
  }
  return {{"event", "log"}, {"level", "warning"}, {"message", printable(line)}};
}

}  // namespace

std::vector<Json> JobTalk::news() {
  constexpr std::int64_t kMost = 8 << 20;  // at a time
  std::ifstream file(file_, std::ios::binary);
  if (!file.seekg(offset_)) return {};
  std::string text(static_cast<std::size_t>(kMost), '\0');
  file.read(text.data(), kMost);
  text.resize(static_cast<std::size_t>(file.gcount()));
  std::vector<Json> events;
  std::size_t begin = 0;
  for (auto end = text.find('\n'); end != text.npos; end = text.find('\n', begin)) {
    if (end > begin) events.push_back(event_of(text.substr(begin, end - begin)));
    begin = end + 1;
  }
  if (begin == 0 && text.size() == static_cast<std::size_t>(kMost)) begin = text.size();
  offset_ += static_cast<std::int64_t>(begin);
  return events;
}

namespace {

/// All events of a file, one after the other.
template <typename Take>
void each_event(const std::filesystem::path& file, const Take& take) {
  JobTalk talk(file, 0);
  for (auto events = talk.news(); !events.empty(); events = talk.news()) {
    for (const auto& event : events) take(event);
  }
}

}  // namespace

Json log_of(const std::filesystem::path& events, std::size_t most) {
  std::vector<Json> lines;
  each_event(events, [&lines](const Json& event) {
    const auto kind = event.at("event").get<std::string>();
    if (kind != "log" && kind != "error") return;
    // Who was told to end says how; that is no failure.
    const bool failed = kind == "error" && event.value("kind", "") != "cancelled";
    lines.push_back({{"level", failed ? "error" : event.value("level", "info")},
                     {"message", event.value("message", "")}});
  });
  if (lines.size() > most) lines.erase(lines.begin(), lines.end() - static_cast<long>(most));
  return {{"lines", lines}};
}

Json curve_of(const std::filesystem::path& events, std::size_t most) {
  std::vector<std::int64_t> steps;
  std::vector<double> losses;
  each_event(events, [&](const Json& event) {
    if (event.at("event") != "progress" || !event.value("loss", Json()).is_number()) return;
    const auto step = event.value("step", std::int64_t{0});
    while (!steps.empty() && steps.back() >= step) {  // it went on from a checkpoint before
      steps.pop_back();
      losses.pop_back();
    }
    steps.push_back(step);
    losses.push_back(event.at("loss").get<double>());
  });
  const auto stride = steps.size() / most + 1;
  Json thin_steps = Json::array(), thin_losses = Json::array();
  for (std::size_t i = (steps.size() + stride - 1) % stride; i < steps.size(); i += stride) {
    thin_steps.push_back(steps[i]);
    thin_losses.push_back(losses[i]);
  }
  return {{"steps", thin_steps}, {"losses", thin_losses}};
}

std::vector<std::string> lines_of(const std::filesystem::path& path) {
  std::ifstream file(path);
  std::vector<std::string> lines;
  for (std::string line; std::getline(file, line);) {
    if (!line.empty()) lines.push_back(line);
  }
  return lines;
}

}  // namespace mos::studio
