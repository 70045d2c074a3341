#include "mos/train/ahead.h"

#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include <atomic>
#include <cstdint>
#include <stdexcept>

namespace mos::train {
namespace {

TEST(Ahead, GivesEachStepInOrderFromAnyFirstOne) {
  Ahead<std::int64_t> squares([](std::int64_t step) { return step * step; }, 3);
  for (std::int64_t step = 5; step < 60; ++step) EXPECT_EQ(squares.take(step), step * step);
}

TEST(Ahead, MakesWithOneThreadEach) {
  Ahead<int> threads([](std::int64_t) { return at::get_num_threads(); }, 2);
  for (std::int64_t step = 0; step < 4; ++step) EXPECT_EQ(threads.take(step), 1);
}

TEST(Ahead, RunsNoFurtherAheadThanTwiceItsThreads) {
  std::atomic<std::int64_t> made = 0;
  Ahead<std::int64_t> steps([&](std::int64_t step) { return ++made, step; }, 2);
  for (std::int64_t step = 0; step < 20; ++step) {
    steps.take(step);
    EXPECT_LE(made, step + 4);
  }
}

TEST(Ahead, EveryThreadHasACopyOfItsOwn) {
  Ahead<int> counted([calls = 0](std::int64_t) mutable { return ++calls; }, 1);
  for (int step = 0; step < 5; ++step) EXPECT_EQ(counted.take(step), step + 1);
}

TEST(Ahead, AFailureReachesWhoeverTakesItsStep) {
  Ahead<int> fails(
      [](std::int64_t step) {
        if (step == 3) throw std::runtime_error("the fourth");
        return 0;
      },
      2);
  for (std::int64_t step = 0; step < 3; ++step) EXPECT_EQ(fails.take(step), 0);
  EXPECT_THROW(fails.take(3), std::runtime_error);
}

}  // namespace
}  // namespace mos::train
