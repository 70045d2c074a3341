#include "mos/jobs/job_check.h"

#include <gmock/gmock.h>

#include "mos/base/file.h"
#include "mos/base/random.h"
#include "mos/concepts/concept_writer.h"
#include "mos/io/image.h"
#include "mos/jobs/tune.h"
#include "tests/support/temp_dir.h"
#include "tests/support/tiny_model.h"

/// What is certain to fail is said of a job that waits; what would run is not.
namespace mos::jobs {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using Problems = std::vector<std::string>;

class JobCheck : public testing::Test {
 protected:
  JobCheck() {
    tiny::model().save(folder_ / "model");
    save_concept("cat.safetensors", 16);
    save_concept("wide.safetensors", 32);
  }

  /// Of one word, <cat1>, with a row of this width.
  void save_concept(const std::string& name, std::int64_t width) const {
    auto generator = seeded_generator(3);
    concepts::ConceptDelta delta;
    delta.words.push_back({"<cat1>", randn({1, width}, generator)});
    concepts::save_concept(folder_ / name, delta);
  }

  std::string at(const std::string& name) const { return (folder_ / name).string(); }

  Problems of_sample(Json options, Json scene = nullptr) const {
    options["base"] = at("model");
    options["lora_folder"] = folder_.path().string();
    return problems_of({.kind = "sample", .options = options, .scene = scene});
  }

  static Json scene_of(const std::vector<double>& box) {
    const Json region = {{"prompt", "b"}, {"box", box}};
    return {{"prompt", "a cat"}, {"regions", Json::array({region})}};
  }

  /// Of two pictures, the first with a mask, and one caption.
  void make_pictures() const {
    for (const char* part : {"images", "masks"}) {
      std::filesystem::create_directories(folder_ / "pictures" / part);
    }
    const auto picture = torch::full({32, 32, 3}, 90, torch::kUInt8);
    for (const char* name : {"a.png", "b.png"}) {
      io::write_png(folder_ / "pictures/images" / name, picture);
    }
    io::write_png(folder_ / "pictures/masks/a.png", torch::full({32, 32, 1}, 255, torch::kUInt8));
    write_text_file(folder_ / "pictures/concept.json",
                    R"({"words": ["<a>"], "class_word": "cat"})");
  }

  Json tune_options() const {
    return {{"base", at("model")}, {"data", at("pictures")}, {"out", at("a.safetensors")},
            {"size", 16},          {"dtype", "float32"},     {"steps", 3},
            {"batch", 1},          {"preview_pictures", 0},  {"norm_threshold", 0.0},
            {"rank", 1},           {"templates", "none"},    {"previews", at("previews")}};
  }

  TempDir folder_;
};

TEST_F(JobCheck, APaintingThatIsPossibleHasNoProblem) {
  EXPECT_THAT(of_sample({{"prompt", "a cat"}}), IsEmpty());
  EXPECT_THAT(
      of_sample({{"prompt", "a <cat1>"}, {"concept", Json::array({at("cat.safetensors=0.5")})}}),
      IsEmpty());
  EXPECT_THAT(of_sample({{"prompt", "a <cat1> <lora:cat:0.7>"}}), IsEmpty());
  EXPECT_THAT(of_sample(Json::object(), scene_of({0, 0, 8, 8})), IsEmpty());
}

TEST_F(JobCheck, WordsAndFilesThatNobodyHasAreNamed) {
  EXPECT_THAT(of_sample({{"prompt", "a <lora:nobody:0.7>"}}),
              ElementsAre(HasSubstr("<lora:nobody>")));
  EXPECT_THAT(of_sample({{"prompt", "a <cat1>"}}),
              ElementsAre(AllOf(HasSubstr("<cat1>"), HasSubstr("no given concept"))));
  EXPECT_THAT(of_sample({{"prompt", "a dog"}, {"concept", Json::array({at("cat.safetensors")})}}),
              ElementsAre(HasSubstr("no prompt has a word of the concept")));
  EXPECT_THAT(
      of_sample({{"prompt", "a <cat1>"}, {"concept", Json::array({at("wide.safetensors")})}}),
      ElementsAre(HasSubstr("text of width 16")));
  EXPECT_THAT(of_sample({{"prompt", "a cat"}, {"scheduler", "nope"}}),
              ElementsAre(HasSubstr("nope")));
}

TEST_F(JobCheck, CanvasesAndScenesThatCannotBeAreNamed) {
  EXPECT_THAT(of_sample({{"prompt", "a cat"}, {"width", 17}}), ElementsAre(HasSubstr("17")));
  EXPECT_THAT(of_sample({{"prompt", "a cat"}, {"width", 1'000'000}}),
              ElementsAre(HasSubstr("1000000")));
  EXPECT_THAT(of_sample(Json::object(), {{"prompt", "a cat"}, {"regoins", Json::array()}}),
              ElementsAre(AllOf(HasSubstr("the scene"), HasSubstr("regoins"))));
  EXPECT_THAT(of_sample(Json::object(), scene_of({0, 0, 24, 24})),
              ElementsAre(HasSubstr("canvas")));
}

TEST_F(JobCheck, PicturesThatCannotBeTunedOnAreNamed) {
  make_pictures();
  EXPECT_THAT(problems_of({.kind = "tune", .options = tune_options()}), IsEmpty());
  io::write_png(folder_ / "pictures/masks/b.png", torch::zeros({32, 32, 1}, torch::kUInt8));
  write_text_file(folder_ / "pictures/images/c.png", "no picture");
  EXPECT_THAT(problems_of({.kind = "tune", .options = tune_options()}),
              testing::UnorderedElementsAre(HasSubstr("masks/b.png: selects nothing"),
                                            HasSubstr("images/c.png")));
  std::filesystem::remove_all(folder_ / "pictures/images");
  std::filesystem::remove_all(folder_ / "pictures/masks");
  std::filesystem::create_directories(folder_ / "pictures/images");
  EXPECT_THAT(problems_of({.kind = "tune", .options = tune_options()}), testing::SizeIs(1));
}

TEST_F(JobCheck, AStoppedRunOfOtherSettingsIsInTheWayUntilItIsGivenUp) {
  make_pictures();
  CancelToken cancel;
  JobContext context;
  context.progress = [&](const Progress&) { cancel.cancel(); };
  context.log = [](log::Level, std::string_view) {};
  context.cancel = &cancel;
  EXPECT_THROW(run(tune_job(tune_options(), "a request"), context), Error);
  auto options = tune_options();
  EXPECT_THAT(problems_of({.kind = "tune", .options = options}), IsEmpty());
  options["steps"] = 9;
  EXPECT_THAT(problems_of({.kind = "tune", .options = options}),
              ElementsAre(AllOf(HasSubstr("is of a run with \"steps\" 3 instead of 9; "),
                                HasSubstr("fresh"))));
  options["fresh"] = true;
  EXPECT_THAT(problems_of({.kind = "tune", .options = options}), IsEmpty());
}

TEST_F(JobCheck, WhatIsMissingForTheOtherJobsIsNamed) {
  EXPECT_THAT(problems_of({.kind = "evaluate", .options = {{"prompt", "a cat"}}}),
              ElementsAre(HasSubstr("needs pictures")));
  EXPECT_THAT(problems_of({.kind = "fuse",
                           .options = {{"base", at("model")},
                                       {"concepts", Json::array({at("none.safetensors")})}}}),
              ElementsAre(HasSubstr("none.safetensors")));
  EXPECT_THAT(
      problems_of(
          {.kind = "fuse",
           .options = {{"base", at("model")},
                       {"concepts", Json::array({at("cat.safetensors"), at("cat.safetensors")})}}}),
      ElementsAre(HasSubstr("<cat1>")));
  EXPECT_THAT(problems_of({.kind = "convert"}), IsEmpty());
}

}  // namespace
}  // namespace mos::jobs
