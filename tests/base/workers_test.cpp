#include "mos/base/workers.h"

#include <gtest/gtest.h>

#include <atomic>

#include "mos/base/error.h"

namespace mos {
namespace {

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
