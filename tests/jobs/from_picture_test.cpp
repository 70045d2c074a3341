#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "mos/base/file.h"
#include "mos/io/image.h"
#include "mos/jobs/sample.h"
#include "mos/jobs/scene.h"
#include "mos/session/picture_record.h"
#include "tests/support/errors.h"
#include "tests/support/temp_dir.h"
#include "tests/support/tiny_model.h"

/// Jobs that begin with the options of a picture.
namespace mos::jobs {
namespace {

using test::message_of;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class FromPictures : public testing::Test {
 protected:
  FromPictures() {
    record_.program = record_.libtorch = "1";
    record_.base = folder_.path().string();
    record_.device = "cpu";
    record_.dtype = "float32";
    record_.options.height = record_.options.width = 16;
    record_.scene.prompt = "a cat";
    record_.scene.canvas = region::Canvas{16, 16};
    record_.scene.regions = {{"a dog", "", region::Box{0, 0, 1, 0.5}}};
  }

  SampleJob job_with(Json given) {
    session::write_picture(picture_, torch::zeros({16, 16, 3}, torch::kUInt8), record_);
    given["from"] = picture_;
    return sample_job(given, "the request");
  }

  /// Of A1111.
  SampleJob foreign_job(const std::string& parameters, Json given) {
    io::write_png(picture_, torch::zeros({16, 16, 3}, torch::kUInt8), {{"parameters", parameters}});
    given["from"] = picture_;
    return sample_job(given, "the request");
  }

  TempDir folder_;
  std::string picture_ = (folder_ / "picture.png").string();
  session::PictureRecord record_;
};

TEST_F(FromPictures, ARegionIsPaintedAgainInThePictureItself) {
  record_.options.pictures = {.init = "before.png", .strength = 0.5, .hires = 2.0, .vae_tile = 32};
  const auto job = job_with({{"redo_region", "1"}, {"strength", 0.25}});
  EXPECT_EQ(job.sample.pictures, (region::PictureOptions{.init = picture_,
                                                         .strength = 0.25,
                                                         .mask_feather = region::kRedoFeather,
                                                         .redo_region = "1",
                                                         .vae_tile = 32}));
  EXPECT_NO_THROW(check(job));
}

TEST_F(FromPictures, ARegionHasASoftEdgeUnlessSomebodySaysOtherwise) {
  const auto feather = [](const SampleJob& job) { return job.sample.pictures.mask_feather; };
  EXPECT_EQ(feather(job_with({{"redo_region", "1"}})), region::kRedoFeather);
  EXPECT_EQ(feather(job_with({{"redo_region", "1"}, {"mask_feather", 0}})), 0.0);
  EXPECT_EQ(feather(job_with({{"redo_region", "1"}, {"mask_feather", 9}})), 9.0);
  EXPECT_EQ(feather(sample_job({{"redo_region", "1"}, {"init", picture_}}, "x")),
            region::kRedoFeather);
  // Pictures that were painted so, before edges were soft among them.
  record_.options.pictures = {.init = "before.png", .redo_region = "1"};
  EXPECT_EQ(feather(job_with(Json::object())), 0.0);
  EXPECT_EQ(feather(job_with({{"redo_region", "1"}})), 0.0);
}

TEST_F(FromPictures, NothingThatIsGivenWithARegionIsLost) {
  const auto refusal = [&](const char* name, Json value) {
    return message_of(ErrorKind::kUsage, [&] {
      check(job_with({{"redo_region", "1"}, {name, value}}));
    });
  };
  EXPECT_THAT(refusal("hires", 2.0), HasSubstr("--hires"));
  EXPECT_THAT(refusal("hires_upscale", "lanczos"), HasSubstr("--hires-upscale"));
  EXPECT_THAT(refusal("grow", {0, 0, 8, 0}), HasSubstr("--grow"));
  EXPECT_THAT(refusal("mask", "absent.png"), HasSubstr("--mask"));
  EXPECT_THAT(refusal("init", "absent.png"), HasSubstr("--init has no place"));
  EXPECT_EQ(job_with({{"redo_region", "1"}, {"vae_tile", 64}}).sample.pictures.vae_tile, 64);
}

TEST_F(FromPictures, ACanvasOfASceneFileGoesOverTheirs) {
  const auto file = (folder_ / "scene.json").string();
  const auto model = tiny::model();
  const auto canvas = [&](const Json& scene, Json given) {
    write_text_file(file, scene.dump());
    given["scene"] = file;
    const auto job = resolved(job_with(given));
    auto options = job.sample;
    compose_scene(job, model, options);
    return std::pair(options.width, options.height);
  };
  const Json with_canvas = {{"prompt", "sea"}, {"height", 24}, {"width", 32}};
  EXPECT_EQ(canvas(with_canvas, Json::object()), std::pair(32L, 24L));
  EXPECT_EQ(canvas(with_canvas, {{"width", 40}}), std::pair(40L, 24L));
  record_.scene.canvas = region::Canvas{48, 48};
  record_.options.height = record_.options.width = 48;
  EXPECT_EQ(canvas({{"prompt", "sea"}}, Json::object()), std::pair(48L, 48L));
}

TEST_F(FromPictures, ACanvasThatGrowsIsNotTheirs) {
  const auto grown = job_with({{"init", picture_}, {"grow", {0, 0, 8, 0}}}).sample;
  EXPECT_EQ(grown.height, 0);  // of the picture to begin with, and what is added
  EXPECT_EQ(grown.width, 0);
  EXPECT_EQ(job_with({{"init", picture_}, {"grow", {0, 0, 8, 0}}, {"width", 24}}).sample.width, 24);
  EXPECT_EQ(job_with({{"init", picture_}}).sample.width, 16);
}

constexpr const char* kNamesLora = "sea <lora:zzz:0.8>\nSteps: 9, Sampler: Euler";

TEST_F(FromPictures, FilesThatAReplacedPromptNamesAreNotWanted) {
  const auto job = resolved(foreign_job(kNamesLora, {{"prompt", "a dog"}}));
  EXPECT_THAT(job.uses, IsEmpty());
  EXPECT_THAT(message_of(ErrorKind::kUsage,
                         [&] {
                           resolved(foreign_job(kNamesLora, {{"negative_prompt", "a dog"}}));
                         }),
              HasSubstr("<lora:zzz>"));
}

TEST_F(FromPictures, LoraOfAGraphStayWithAnotherPrompt) {
  write_text_file(folder_ / "ink.safetensors", "x");
  io::write_png(picture_, torch::zeros({16, 16, 3}, torch::kUInt8), {{"prompt", R"({
    "1": {"class_type": "KSampler", "inputs": {"model": ["2", 0]}},
    "2": {"class_type": "LoraLoader", "inputs": {"lora_name": "ink", "strength_model": 0.5}}})"}});
  const auto job = resolved(sample_job(
      {{"from", picture_}, {"prompt", "a dog"}, {"lora_folder", folder_.path().string()}}, "x"));
  ASSERT_EQ(job.uses.size(), 1U);
  EXPECT_EQ(job.uses[0].file, (folder_ / "ink.safetensors").string());
  EXPECT_EQ(job.uses[0].scale, 0.5);
}

TEST_F(FromPictures, LoraOfAGraphAreNotSaidToBeOfAPrompt) {
  io::write_png(picture_, torch::zeros({16, 16, 3}, torch::kUInt8), {{"prompt", R"({
    "1": {"class_type": "KSampler", "inputs": {"model": ["2", 0]}},
    "2": {"class_type": "LoraLoader", "inputs": {"lora_name": "sub\\ink"}}})"}});
  EXPECT_THAT(
      message_of(ErrorKind::kUsage,
                 [&] {
                   resolved(sample_job({{"from", picture_}}, "x"));
                 }),
      HasSubstr(picture_ + " was painted with the LoRA sub\\ink, but there is no file sub/ink."));
}

TEST_F(FromPictures, AFileOfTheRecordThatIsGoneIsNamedAsThat) {
  record_.base = "gone";
  EXPECT_THAT(message_of(ErrorKind::kIo,
                         [&] {
                           job_with({{"prompt", "a"}});
                         }),
              HasSubstr("the picture says that it was painted with the model gone, which is not "
                        "there from this folder; name its place with --base"));
  EXPECT_THAT(message_of(ErrorKind::kIo, [&] { run(RerunJob{.picture = picture_}); }),
              HasSubstr("name its place with --base"));
  record_.concepts = {{"bear.safetensors", "", 1.0}};
  EXPECT_THAT(message_of(ErrorKind::kIo,
                         [&] {
                           job_with({{"base", "here"}});
                         }),
              HasSubstr("name its place with --concept"));
  EXPECT_EQ(job_with({{"base", "here"}, {"concept", {"there"}}}).base, "here");
}

TEST(SampleJobs, OptionsWithoutEffectAreRefused) {
  const auto refusal = [](Json given) {
    given["prompt"] = "a cat";
    return message_of(ErrorKind::kUsage, [&] { check(sample_job(given, "x")); });
  };
  EXPECT_THAT(refusal({{"guidance_rescale", 0.7}, {"guidance_scale", 1.0}}),
              HasSubstr("a --guidance-scale of 1 is none"));
  EXPECT_THAT(refusal({{"perturbed_attention", 0.2}, {"guidance_scale", 1.0}}),
              HasSubstr("a --guidance-scale of 1 is none"));
  EXPECT_THAT(refusal({{"hard_binding", 99}, {"steps", 3}}), HasSubstr("there are 3 steps"));
}

TEST_F(FromPictures, PathsOfASceneFileAreThoseOfItsFolder) {
  write_text_file(folder_ / "near.png", "x");
  write_text_file(folder_ / "scene.json", R"({"prompt": "sea",
    "regions": [{"prompt": "a", "mask": "near.png"}, {"prompt": "b", "mask": "absent.png"}],
    "conditions": [{"adapter": "near.png", "picture": "near.png"}]})");
  SampleJob job;
  job.scene = (folder_ / "scene.json").string();
  const auto scene = resolved(job).scene_json;
  const auto near = (folder_ / "near.png").string();
  EXPECT_EQ(scene.at("regions")[0].at("mask"), near);
  EXPECT_EQ(scene.at("regions")[1].at("mask"), "absent.png");  // of the working folder
  EXPECT_EQ(scene.at("conditions")[0].at("adapter"), near);
  EXPECT_EQ(scene.at("conditions")[0].at("picture"), near);
}

}  // namespace
}  // namespace mos::jobs
