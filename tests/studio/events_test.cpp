#include "mos/studio/events.h"

#include <gtest/gtest.h>

namespace mos::studio {
namespace {

constexpr std::chrono::milliseconds kNow{0};

TEST(EventHub, WhoComesAgainGetsWhatWasMissedOnce) {
  EventHub hub;
  const auto start = hub.last();
  hub.tell("job", {{"id", 1}});
  hub.tell("job", {{"id", 2}});
  const auto news = hub.after(start, kNow);
  ASSERT_EQ(news.events.size(), 2U);
  EXPECT_EQ(hub.after(news.events.front().id, kNow).events.size(), 1U);
  EXPECT_TRUE(hub.after(news.last, kNow).events.empty());
  EXPECT_FALSE(news.missed);
}

TEST(EventHub, OfProgressOnlyTheLastOfEachJobIsKept) {
  EventHub hub;
  const auto start = hub.last();
  for (int step = 1; step <= 5000; ++step) hub.tell_progress(7, {{"step", step}});
  hub.tell_progress(8, {{"step", 1}});
  const auto news = hub.after(start, kNow);
  ASSERT_EQ(news.events.size(), 2U);
  EXPECT_EQ(news.events.front().data, R"({"job":7,"progress":{"step":5000}})");
}

TEST(EventHub, WhoWasAwayTooLongOrKnewAnotherServerIsTold) {
  EventHub hub;
  const auto start = hub.last();
  for (int i = 0; i < 5000; ++i) hub.tell("job", {{"id", i}});
  EXPECT_TRUE(hub.after(start, kNow).missed);
  EXPECT_TRUE(hub.after(5, kNow).missed);
  EXPECT_TRUE(hub.after(hub.last() + 1000, kNow).missed);
}

}  // namespace
}  // namespace mos::studio
