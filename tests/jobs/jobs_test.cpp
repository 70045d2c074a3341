#include <gmock/gmock.h>

#include <string>
#include <thread>
#include <vector>

#include "mos/base/file.h"
#include "mos/base/random.h"
#include "mos/base/record.h"
#include "mos/base/runtime.h"
#include "mos/io/image.h"
#include "mos/io/quick_png.h"
#include "mos/io/safetensors.h"
#include "mos/jobs/evaluate.h"
#include "mos/jobs/fuse.h"
#include "mos/jobs/sample.h"
#include "mos/jobs/tune.h"
#include "tests/base/places.h"
#include "tests/support/temp_dir.h"
#include "tests/support/tiny_model.h"

namespace {

namespace fs = std::filesystem;
using mos::ErrorKind;
using mos::Json;
using mos::TempDir;
using mos::jobs::JobContext;
using mos::jobs::SampleJob;
using mos::test::error_of;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

TEST(TuneJob, TakesTheMethodFirstAndOverItWhatIsGiven) {
  const TempDir base;
  mos::write_text_file(base / "tune_defaults.json", R"({"steps": 300, "batch": 3})");
  const auto job = mos::jobs::tune_job(
      {{"base", base.path().string()}, {"method", "p_plus"}, {"batch", 7}}, "the request");
  EXPECT_EQ(job.options.method, "p_plus");
  EXPECT_EQ(job.options.weights.rank, 0);       // the method's
  EXPECT_EQ(job.options.optimiser.steps, 500);  // the method's, over the base's
  EXPECT_EQ(job.options.optimiser.batch, 7);    // what was given, over both
  EXPECT_THAT(error_of(ErrorKind::kUsage,
                       [] {
                         mos::jobs::tune_job({{"stesp", 3}}, "a request");
                       }),
              HasSubstr("a request has an unknown option \"stesp\""));
}

TEST(TuneJob, IsCheckedBeforeAnythingIsRead) {
  mos::jobs::TuneJob job{.data = "absent", .out = "concept.safetensors", .base = "absent"};
  EXPECT_NO_THROW(check(job));
  job.options.optimiser.steps = 0;
  EXPECT_THAT(error_of(ErrorKind::kUsage, [&] { check(job); }), HasSubstr("\"steps\" is 0"));
  job.options.optimiser.steps = 1;
  job.out = "concept.png";
  EXPECT_THAT(error_of(ErrorKind::kUsage, [&] { check(job); }), HasSubstr(".safetensors"));
  EXPECT_THAT(error_of(ErrorKind::kUsage, [] { check(mos::jobs::TuneJob()); }),
              HasSubstr("a folder of pictures"));
}

TEST(FuseJob, RefusesTheOptionsOfOtherMethods) {
  EXPECT_THAT(error_of(ErrorKind::kUsage,
                       [] {
                         mos::jobs::fuse_job({{"method", "weight"}, {"density", 0.5}}, "a request");
                       }),
              HasSubstr("\"density\" is no option of the method weight, but of"));
  const auto job = mos::jobs::fuse_job({{"method", "ties"}, {"density", 0.5}}, "a request");
  EXPECT_EQ(job.options.of_method.at("density"), 0.5);
  EXPECT_THAT(error_of(ErrorKind::kUsage, [&] { check(job); }), HasSubstr("--out"));
}

TEST(EvaluateJob, NeedsSomethingToCompareWith) {
  const mos::jobs::EvaluateJob job{.pictures = {"a.png"}};
  EXPECT_THAT(error_of(ErrorKind::kUsage, [&] { check(job); }), HasSubstr("--references"));
}

TEST(EvaluateJob, APartHasFourSidesInTheirSequence) {
  mos::jobs::EvaluateJob job{.pictures = {"a.png"}, .part = {0, 0.5, 1}, .prompt = "a cat"};
  EXPECT_THAT(error_of(ErrorKind::kUsage, [&] { check(job); }), HasSubstr("--part"));
  job.part = {0, 0.5, 1, 0.5};
  EXPECT_THAT(error_of(ErrorKind::kUsage, [&] { check(job); }), HasSubstr("--part"));
  job.part = {0, 0.5, 1, 1};
  check(job);
}

class Painting : public testing::Test {
 protected:
  Painting() { mos::tiny::model().save(folder_ / "model"); }

  SampleJob job(const std::string& name, std::uint64_t seed) const {
    SampleJob job;
    job.base = (folder_ / "model").string();
    job.prompt = "a cat " + name + name + name + name;
    job.sample.sampler.plain_text = true;  // cut, of which the log warns
    job.out = (folder_ / (name + ".png")).string();
    job.dtype = "float32";
    job.sample.steps = 3;
    job.sample.seed = seed;
    return job;
  }

  TempDir folder_;
};

/// All that a context is told.
struct Heard {
  std::vector<std::string> results, talk;
  std::vector<std::int64_t> steps;
  std::vector<fs::path> previews;

  JobContext context() {
    return {.progress = [this](const mos::Progress& p) { steps.push_back(p.step); },
            .preview = [this](const fs::path& path) { previews.push_back(path); },
            .result = [this](const std::string& line) { results.push_back(line); },
            .log = [this](mos::log::Level, std::string_view text) { talk.emplace_back(text); }};
  }
};

TEST_F(Painting, TellsItsContextAndNobodyElse) {
  Heard heard;
  testing::internal::CaptureStderr();
  const auto written = run(job("alone", 3), heard.context());
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "");
  const auto path = (folder_ / "alone.png").string();
  EXPECT_THAT(written, ElementsAre(path));
  EXPECT_THAT(heard.results, ElementsAre(path));
  EXPECT_THAT(heard.previews, ElementsAre(path));
  EXPECT_THAT(heard.steps, ElementsAre(1, 2, 3));
  EXPECT_THAT(heard.talk, ElementsAre(HasSubstr("alonealone")));
}

TEST_F(Painting, JobsSideBySideDoNotMixAndPaintTheSame) {
  Heard one, two;
  std::thread other([&] {
    const mos::ScopedThreads alone(1);  // each record names them
    run(job("two", 4), two.context());
  });
  const mos::ScopedThreads alone(1);
  run(job("one", 3), one.context());
  other.join();
  EXPECT_THAT(one.talk, ElementsAre(HasSubstr("oneone")));
  EXPECT_THAT(two.talk, ElementsAre(HasSubstr("twotwo")));
  EXPECT_THAT(one.steps, ElementsAre(1, 2, 3));
  EXPECT_THAT(two.steps, ElementsAre(1, 2, 3));
  const auto side_by_side = mos::read_text_file(folder_ / "two.png");
  run(job("two", 4), two.context());
  EXPECT_TRUE(mos::read_text_file(folder_ / "two.png") == side_by_side);
}

TEST_F(Painting, IsMadeAgainFromItself) {
  Heard heard;
  run(job("first", 3), heard.context());
  const auto out = (folder_ / "again.png").string();
  mos::jobs::RerunJob again{.picture = (folder_ / "first.png").string(), .out = out};
  EXPECT_EQ(run(again, heard.context()), out);
  EXPECT_TRUE(mos::read_text_file(out) == mos::read_text_file(again.picture));
  again.concepts = {"a.safetensors"};
  EXPECT_THAT(error_of(ErrorKind::kUsage, [&] { run(again, heard.context()); }),
              HasSubstr("made with 0"));
}

TEST_F(Painting, IsTheSameWhoeverStoredItSince) {
  Heard heard;
  run(job("first", 3), heard.context());
  const auto first = mos::io::read_image(folder_ / "first.png");
  const auto stored = folder_ / "stored.png";
  mos::write_text_file(stored, mos::io::quick_png(first.pixels, first.text));  // packed otherwise
  const auto bytes = mos::read_text_file(stored);
  ASSERT_TRUE(bytes != mos::read_text_file(folder_ / "first.png"));
  mos::jobs::RerunJob again{.picture = stored.string()};
  Heard in_place, elsewhere;
  run(again, in_place.context());
  EXPECT_TRUE(mos::read_text_file(stored) == bytes) << "a file of others was written over";
  again.out = (folder_ / "again.png").string();
  run(again, elsewhere.context());
  for (const auto* one : {&in_place, &elsewhere}) {
    EXPECT_THAT(one->talk, Contains(HasSubstr("every pixel is as in")));
  }
}

TEST_F(Painting, ALoraOfFewStepsIsTakenWithTheNameOfItsFile) {
  auto generator = mos::seeded_generator(3);
  const std::string layer = "lora_unet_mid_block_resnets_0_conv1";
  const mos::io::StateDict file = {
      {layer + ".lora_down.weight", mos::randn({2, 16, 3, 3}, generator).to(torch::kFloat16)},
      {layer + ".lora_up.weight", mos::randn({16, 2, 1, 1}, generator).to(torch::kFloat16)},
      {layer + ".alpha", torch::tensor(2.0).to(torch::kFloat16)}};
  struct Case {
    const char *file, *scheduler;
    std::int64_t steps;
  };
  for (const auto& [name, scheduler, steps] :
       {Case{"lcm-lora-sdv1-5", "lcm", 4}, Case{"Hyper-SD15-8steps-lora", "ddim", 8},
        Case{"sd_lightning_4step", "euler", 4}, Case{"TCD-SD15-LoRA", "tcd", 4}}) {
    const auto path = folder_ / (std::string(name) + ".safetensors");
    mos::io::save_safetensors(path, file, {});
    const auto fast = mos::jobs::sample_job({{"base", (folder_ / "model").string()},
                                             {"prompt", "a cat"},
                                             {"concept", {path.string()}},
                                             {"fast", "auto"},
                                             {"dtype", "float32"},
                                             {"out", (folder_ / "fast.png").string()}},
                                            "the request");
    EXPECT_EQ(fast.sample.scheduler, scheduler) << name;
    EXPECT_EQ(fast.sample.steps, steps) << name;
    EXPECT_EQ(fast.sample.guidance_scale, 1.0) << name;
    Heard heard;
    run(fast, heard.context());
    EXPECT_EQ(heard.steps.size(), static_cast<std::size_t>(steps)) << name;
  }
}

TEST_F(Painting, BeginsWithWhatItsModelSuggestsFusedOrInOneFile) {
  const auto defaults = folder_ / "model" / "sample_defaults.json";
  mos::write_text_file(defaults, R"({"guidance_scale": 2.5, "steps": 7})");
  const auto model = mos::diffusion::Model::load(folder_ / "model");
  for (const char* name : {"model", "again", "one.safetensors"}) {
    const auto base = folder_ / name;
    if (!fs::exists(base)) model.save(base);
    const auto plain = mos::jobs::sample_job({{"base", base.string()}}, "the request").sample;
    EXPECT_EQ(plain.guidance_scale, 2.5) << name;
    EXPECT_EQ(plain.steps, 7) << name;
    const auto given =
        mos::jobs::sample_job({{"base", base.string()}, {"steps", 3}}, "the request").sample;
    EXPECT_EQ(given.guidance_scale, 2.5) << name;
    EXPECT_EQ(given.steps, 3) << name;
  }
  mos::write_text_file(defaults, R"({"perturbed_attention": 0.2})");
  const auto perturbed = [&](Json given) {
    given["base"] = (folder_ / "model").string();
    given["prompt"] = "a cat";
    const auto job = mos::jobs::sample_job(given, "the request");
    check(job);
    return job.sample.sampler.perturbed_attention;
  };
  EXPECT_EQ(perturbed({}), 0.2);
  EXPECT_EQ(perturbed({{"perturbed_attention", 0.0}}), 0.0);
  // It is wished for at a guidance of 7.5: another keeps share x (scale - 1).
  EXPECT_NEAR(perturbed({{"guidance_scale", 14.0}}), 0.1, 1e-12);
  EXPECT_EQ(perturbed({{"guidance_scale", 14.0}, {"perturbed_attention", 0.2}}), 0.2);
  EXPECT_EQ(perturbed({{"guidance_scale", 1.5}}), 1.0);
  // What the model wishes of guidance is no option without effect where there is none.
  EXPECT_EQ(perturbed({{"guidance_scale", 1.0}}), 0.0);
  EXPECT_EQ(perturbed({{"fast", "lcm"}}), 0.0);
  mos::write_text_file(defaults, R"({"guidance": 2.5})");
  EXPECT_THAT(
      error_of(ErrorKind::kUsage,
               [&] {
                 mos::jobs::sample_job({{"base", (folder_ / "model").string()}}, "the request");
               }),
      HasSubstr("sample_defaults.json"));
}

TEST_F(Painting, ACancelledJobLeavesNothing) {
  Heard heard;
  mos::CancelToken cancel;
  cancel.cancel();
  auto context = heard.context();
  context.cancel = &cancel;
  EXPECT_NE(error_of(ErrorKind::kCancelled, [&] { run(job("none", 3), context); }), "");
  EXPECT_FALSE(fs::exists(folder_ / "none.png"));
  EXPECT_THAT(heard.results, ElementsAre());
}

TEST_F(Painting, CancelledWithAPreviewLeavesNoneAndItsFolderNeedNotBeThere) {
  mos::CancelToken cancel;
  auto previewed = job("previewed", 3);
  previewed.preview = 1;
  previewed.out = (folder_ / "new").string();
  bool was_there = false;
  const JobContext context{.preview =
                               [&](const fs::path& path) {
                                 was_there = fs::exists(path);
                                 cancel.cancel();
                               },
                           .cancel = &cancel};
  EXPECT_NE(error_of(ErrorKind::kCancelled, [&] { run(previewed, context); }), "");
  EXPECT_TRUE(was_there);
  EXPECT_TRUE(fs::is_empty(folder_ / "new"));
}

TEST_F(Painting, TheFileThatAJobWasReadFromIsNoPlaceForItsResult) {
  Heard heard;
  auto context = heard.context();
  context.config = folder_ / "config.json";
  mos::write_text_file(context.config, R"({"mixofshow": "a record, it seems"})");
  EXPECT_THAT(error_of(ErrorKind::kUsage, [&] { run(job("config", 3), context); }),
              HasSubstr("--config"));
}

TEST_F(Painting, AnEstimateWritesNothing) {
  Heard heard;
  const auto estimate = mos::jobs::estimate(job("trial", 3), heard.context());
  EXPECT_GT(estimate.seconds, 0.0);
  EXPECT_GT(estimate.memory, 0);
  EXPECT_THAT(estimate.measured, HasSubstr("3 of 3 steps"));
  EXPECT_FALSE(fs::exists(folder_ / "trial.png"));
}

}  // namespace
