#include "mos/fuse/options.h"

#include <gmock/gmock.h>

#include "mos/fuse/fuse_concepts.h"
#include "tests/support/errors.h"
#include "tests/support/tiny_concepts.h"
#include "tests/support/tiny_model.h"

namespace {

using mos::ErrorKind;
using mos::fuse::FuseOptions;
using mos::test::message_of;
using testing::HasSubstr;

TEST(FuseOptions, RecordsHaveThoseThatWereNotGiven) {
  const auto written = mos::write_options(FuseOptions{.of_method = {{"text_ridge", 0.0}}});
  EXPECT_EQ(written.at("text_ridge"), 0.0);
  EXPECT_GT(written.at("unet_ridge"), 0.0);
}

TEST(FuseOptions, ThoseThatMakeNoSenseAreRefused) {
  const auto refusal = [](const FuseOptions& options) {
    return message_of(ErrorKind::kUsage, [&] { check_options(options, 2); });
  };
  EXPECT_THAT(refusal({.method = "magic"}), HasSubstr("method"));
  EXPECT_THAT(refusal({.of_method = {{"unet_ridge", -0.5}}}), HasSubstr("ridge"));
  EXPECT_THAT(refusal({.of_method = {{"ridge_towards", "zero"}}}), HasSubstr("ridge_towards"));
  EXPECT_THAT(refusal({.method = "lbfgs", .of_method = {{"unet_ridge", 1.0}}}),
              HasSubstr("unknown option \"unet_ridge\""));
  EXPECT_THAT(refusal({.of_method = {{"keep", {"dog", " "}}}}), HasSubstr("phrase of keep"));
  EXPECT_THAT(refusal({.record = {.dtype = "float8"}}), HasSubstr("dtype"));
  EXPECT_THAT(refusal({.record = {.prompts = {"a photo"}}}), HasSubstr("<TOK>"));
  EXPECT_THAT(refusal({.record = {.samples = 0}}), HasSubstr("samples"));
  EXPECT_THAT(refusal({.weights = {1.0, -2.0}}),
              HasSubstr("are 1, -2; for 2 concepts they must be 2 numbers, none negative"));
  EXPECT_THAT(refusal({.method = "weight", .weights = {0.5}}), HasSubstr("the weights are 0.5;"));
  EXPECT_THAT(message_of(ErrorKind::kUsage, [] { mos::fuse::check_options({}, 0); }),
              HasSubstr("no concept"));
}

TEST(FuseOptions, MoreStepsThanTheModelHasAreRefusedBeforeTheWork) {
  auto model = mos::tiny::model();
  const std::vector sources = {mos::tiny::random_source("cat", 5)};
  const auto refusal = [&](const FuseOptions& options) {
    return message_of(ErrorKind::kUsage, [&] { check_concepts(model, sources, options); });
  };
  EXPECT_THAT(refusal({.record = {.steps = 1001}}), HasSubstr("1001 steps: expected 1 to 1000"));
  EXPECT_THAT(refusal({.method = "distill", .of_method = {{"lesson_steps", 1002}}}),
              HasSubstr("1002 steps: expected 1 to 1000"));
  // One that samples nothing does not mind.
  check_concepts(model, sources, {.method = "weight", .record = {.steps = 1001}});
}

}  // namespace
