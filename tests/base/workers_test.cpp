#include "mos/base/workers.h"

#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <barrier>

#include "mos/base/error.h"

namespace mos {
namespace {

TEST(Workers, EachDoesItsOwnPartAndAllAreDoneAtTheEnd) {
  Workers workers(3);
  for (int round = 0; round < 20; ++round) {  // the same threads, again and again
    std::array<int, 3> done{};
    workers.run([&](std::size_t i) { done[i] += static_cast<int>(i) + 1; });
    EXPECT_EQ(done, (std::array<int, 3>{1, 2, 3}));
  }
}

TEST(Workers, RunAtTheSameTime) {
  Workers workers(2);
  std::barrier together(2);  // one alone would wait here for ever
  std::atomic<int> met = 0;
  workers.run([&](std::size_t) {
    together.arrive_and_wait();
    ++met;
  });
  EXPECT_EQ(met, 2);
}

TEST(Workers, TheFirstFailureReachesTheCaller) {
  Workers workers(2);
  EXPECT_THROW(workers.run([](std::size_t i) {
    if (i == 1) throw Error(ErrorKind::kUsage, "no");
  }),
               Error);
  std::atomic<int> done = 0;
  workers.run([&](std::size_t) { ++done; });  // and they still work
  EXPECT_EQ(done, 2);
}

}  // namespace
}  // namespace mos
