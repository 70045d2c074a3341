#include <fmt/core.h>

#include <atomic>
#include <memory>

#include "mos/base/text.h"
#include "mos/studio/parts.h"

namespace mos::studio {
namespace {

/// One of the streams that may be open.
class Seat {
 public:
  explicit Seat(std::shared_ptr<std::atomic<int>> taken) : taken_(std::move(taken)) {
    if (++*taken_ <= kMostStreams) return;
    --*taken_;
    throw Refused(503, "too many streams of events are open; ask /mos/v1/events/poll instead");
  }
  ~Seat() { --*taken_; }
  Seat(const Seat&) = delete;
  Seat& operator=(const Seat&) = delete;

 private:
  std::shared_ptr<std::atomic<int>> taken_;
};

std::string as_text(std::int64_t id, const std::string& name, const std::string& data) {
  return fmt::format("id: {}\nevent: {}\ndata: {}\n\n", id, name, data);
}

/// What one page is told, from where it stood.
class Stream {
 public:
  Stream(EventHub& events, std::unique_ptr<Seat> seat, std::int64_t after)
      : events_(events), seat_(std::move(seat)), after_(after) {}

  bool send(const Sender& sender) {
    const auto last = fmt::format("{{\"last\":{}}}", after_);
    if (!greeted_ && !sender("retry: 2000\n" + as_text(after_, "hello", last))) return false;
    greeted_ = true;
    const auto news = events_.after(after_, std::chrono::milliseconds(1000));
    std::string text;
    if (news.missed) text = as_text(news.last, "reset", fmt::format("{{\"last\":{}}}", news.last));
    for (const auto& event : news.events) text += as_text(event.id, event.name, event.data);
    after_ = news.last;
    // A comment now and then finds out who has gone without a word.
    constexpr int kSilences = 15;
    silences_ = text.empty() ? silences_ + 1 : 0;
    if (silences_ >= kSilences) {
      text = ":\n\n";
      silences_ = 0;
    }
    return text.empty() || sender(text);
  }

 private:
  EventHub& events_;
  std::unique_ptr<Seat> seat_;
  std::int64_t after_;
  bool greeted_ = false;
  int silences_ = 0;
};

Reply open_stream(Parts& parts, const Call& call, const std::shared_ptr<std::atomic<int>>& taken) {
  auto seat = std::make_unique<Seat>(taken);
  const auto given = number_in<std::int64_t>(call.header("last-event-id"));
  const auto stream =
      std::make_shared<Stream>(parts.events, std::move(seat), given ? *given : parts.events.last());
  Reply reply{.type = "text/event-stream",
              .stream = [stream](const Sender& sender) { return stream->send(sender); }};
  reply.headers["X-Accel-Buffering"] = "no";
  return reply;
}

Reply poll(Parts& parts, const Call& call) {
  const auto after = call.number("after", parts.events.last(), 0, INT64_MAX);
  const auto news = parts.events.after(after, std::chrono::milliseconds(0));
  Json events = Json::array();
  if (news.missed) {
    events.push_back({{"id", news.last}, {"event", "reset"}, {"data", {{"last", news.last}}}});
  }
  for (const auto& event : news.events) {
    events.push_back(
        {{"id", event.id}, {"event", event.name}, {"data", parse_json(event.data, "an event")}});
  }
  return json_reply({{"events", events}, {"last", news.last}});
}

}  // namespace

std::vector<Route> event_routes(Parts& parts) {
  const auto taken = std::make_shared<std::atomic<int>>(0);
  return {
      {"GET", "/mos/v1/events",
       [&parts, taken](const Call& call) { return open_stream(parts, call, taken); }},
      {"GET",
       "/mos/v1/events/poll",
       [&parts](const Call& call) { return poll(parts, call); },
       {"after"}},
  };
}

}  // namespace mos::studio
