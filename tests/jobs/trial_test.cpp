#include "mos/jobs/trial.h"

#include <gmock/gmock.h>

#include "mos/jobs/sample.h"
#include "tests/support/temp_dir.h"
#include "tests/support/tiny_model.h"

namespace mos::jobs {
namespace {

diffusion::DenoiseStep call(std::int64_t index) { return {.index = index, .total = 3}; }

TEST(PaintTrial, EveryPassIsCountedByItsOwnStepsAndTimes) {
  PaintTrial trial(3);
  for (const double seconds : {3.0, 1.0, 1.0}) trial.add(call(seconds == 3.0 ? 0 : 1), seconds);
  const std::vector<PaintTrial::Wanted> once = {{21, 1.0}};
  EXPECT_DOUBLE_EQ(trial.seconds(once), 3.0 + 20.0 * 1.0);
  EXPECT_EQ(trial.measured(once), "measured on 3 of 21 steps, 1.00 s each");
  for (const double seconds : {6.0, 4.0, 4.0}) trial.add(call(seconds == 6.0 ? 0 : 1), seconds);
  const std::vector<PaintTrial::Wanted> twice = {{21, 1.0}, {20, 0.45}};
  EXPECT_DOUBLE_EQ(trial.seconds(twice), 23.0 + 6.0 + 8.0 * 4.0);
  EXPECT_EQ(trial.measured(twice),
            "measured on 3 of 21 steps, 1.00 s each, and on 3 of 9 of the second pass, 4.00 s "
            "each");
}

TEST(PaintTrial, MethodsOfTwoCallsAStepAreCountedByCalls) {
  PaintTrial trial(3);
  for (std::int64_t i = 0; i < 6; ++i) trial.add(call(i), 1.0);
  EXPECT_DOUBLE_EQ(trial.seconds({{10, 1.0}}), 20.0);
  EXPECT_EQ(trial.measured({{2, 1.0}}), "measured on 2 of 2 steps, 1.00 s each");
}

TEST(Trials, AreMadeOfWhateverCanBePainted) {
  const TempDir folder;
  tiny::model().save(folder / "model");
  const auto measured = [&](Json options) {
    options["base"] = (folder / "model").string();
    options["dtype"] = "float32";
    options["steps"] = 20;
    options["prompt"] = "a cat, b";
    const JobContext silent{.log = [](log::Level, std::string_view) {}};
    return estimate(sample_job(options, "the request"), silent).measured;
  };
  const auto of_four = testing::HasSubstr("4 of 20 steps");
  EXPECT_THAT(measured({{"scheduler", "pndm"}}), of_four);  // which begins with four
  const Json sought = {{"auto_regions", true}, {"subjects", {"cat", "b"}}};
  for (const auto& [name, value] :
       std::vector<std::pair<std::string, Json>>{{"guide", "layout"}, {"hard_binding", 5}}) {
    auto options = sought;
    options[name] = value;
    if (name == "guide") options["guide_scale"] = 2.0;
    EXPECT_THAT(measured(options), of_four) << name;
  }
}

}  // namespace
}  // namespace mos::jobs
