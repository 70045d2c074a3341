#include "mos/base/log.h"

#include <gmock/gmock.h>

#include <string>
#include <thread>
#include <vector>

namespace {

namespace log = mos::log;
using ::testing::ElementsAre;

TEST(Log, GoesToTheListenerOfItsThreadUntilTheEndOfTheScope) {
  std::vector<std::string> outer, inner, other;
  const auto keep = [](std::vector<std::string>& list) {
    return [&list](log::Level level, std::string_view message) {
      list.push_back((level == log::Level::kWarning ? "! " : "") + std::string(message));
    };
  };
  const log::ScopedSink sink(keep(outer));
  log::info("one");
  {
    const log::ScopedSink nested(keep(inner));
    log::warn("two");
    std::thread([&] {
      const log::ScopedSink own(keep(other));
      log::info("elsewhere");
    }).join();
  }
  const log::ScopedSink none(log::Sink{});  // changes nothing
  log::info("three");
  EXPECT_THAT(outer, ElementsAre("one", "three"));
  EXPECT_THAT(inner, ElementsAre("! two"));
  EXPECT_THAT(other, ElementsAre("elsewhere"));
}

TEST(Log, ControlCharactersOfNamesAreShownAndNotSent) {
  std::vector<std::string> said;
  const log::ScopedSink sink(
      [&](log::Level, std::string_view message) { said.emplace_back(message); });
  log::info("a\x1b[31m\nb.pt: 2 keys matched");
  log::warn("a\x1b[31m\nb.pt is old");
  EXPECT_THAT(said,
              ElementsAre("a\\x1b[31m\\x0ab.pt: 2 keys matched", "a\\x1b[31m\\x0ab.pt is old"));
}

}  // namespace
