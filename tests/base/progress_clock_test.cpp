#include "mos/base/progress_clock.h"

#include <gtest/gtest.h>

namespace mos {
namespace {

Progress at(const char* stage, std::int64_t step, double seconds) {
  return {.stage = stage, .step = step, .total = 10, .seconds = seconds};
}

/// What the clock says after `progress`.
double left_after(ProgressClock& clock, const Progress& progress) {
  clock.note(progress);
  return clock.left(progress).value();
}

TEST(ProgressClock, AStageBeginsWithItsNameOrWhereItCountsAnew) {
  ProgressClock clock;
  EXPECT_TRUE(clock.note(at("tuning", 1, 1)));
  EXPECT_FALSE(clock.note(at("tuning", 2, 2)));
  EXPECT_TRUE(clock.note(at("painting", 1, 1)));
  EXPECT_TRUE(clock.note(at("painting", 1, 1)));
}

TEST(ProgressClock, CountsTheStepsOfThisRunAlone) {
  ProgressClock clock;
  EXPECT_DOUBLE_EQ(left_after(clock, at("tuning", 7, 2)), 6.0);  // taken up after step 6
  EXPECT_DOUBLE_EQ(left_after(clock, at("tuning", 8, 4)), 4.0);
  EXPECT_DOUBLE_EQ(left_after(clock, at("tuning", 1, 3)), 27.0);  // another one
}

TEST(ProgressClock, AStageThatAnotherInterruptsGoesOnWhereItWas) {
  ProgressClock clock;
  for (std::int64_t step = 1; step <= 4; ++step) {
    clock.note(at("tuning", step, static_cast<double>(step)));
  }
  EXPECT_DOUBLE_EQ(left_after(clock, at("painting", 2, 4)), 32.0);
  EXPECT_TRUE(clock.note(at("tuning", 5, 10)));  // a new line on a terminal
  EXPECT_DOUBLE_EQ(clock.left(at("tuning", 5, 10)).value(), 10.0);
}

TEST(ProgressClock, SaysNothingOfAStageWithoutAnEnd) {
  ProgressClock clock;
  const Progress endless{.stage = "reading", .step = 3, .seconds = 3};
  clock.note(endless);
  EXPECT_FALSE(clock.left(endless).has_value());
}

}  // namespace
}  // namespace mos
