#include "mos/jobs/evaluate.h"

#include <gmock/gmock.h>

#include "mos/base/file.h"
#include "mos/io/image.h"
#include "mos/jobs/eyes.h"
#include "mos/jobs/sample.h"
#include "tests/base/places.h"
#include "tests/support/tiny_judge.h"

namespace mos::jobs {
namespace {

namespace fs = std::filesystem;
using ::testing::AnyOf;
using ::testing::HasSubstr;
using ::testing::Not;

class Evaluating : public ::testing::Test {
 protected:
  Evaluating() {
    tiny::save_with_judge(folder_ / "base");
    for (const char* name : {"one", "two"}) {
      make_folders(folder_ / name);
      auto generator = seeded_generator(static_cast<std::uint64_t>(name[0]));
      for (int i = 0; i < 3; ++i) {
        io::write_png(folder_ / name / (std::to_string(i) + ".png"),
                      randint(0, 256, {20, 16, 3}, generator).to(torch::kUInt8));
      }
    }
  }

  /// Two prompts with two seeds each, of two regions.
  void paint() {
    for (const char* prompt : {"a cat", "b cat"}) {
      SampleJob job{.prompt = prompt,
                    .regions = "[a]-*-[]-*-[0, 0, 1, 0.5]|[b]-*-[]-*-[0, 0.5, 1, 1]",
                    .out = (folder_ / "painted" / prompt).string(),
                    .base = (folder_ / "base").string(),
                    .dtype = "float32"};
      job.out += "-.png";
      job.sample.steps = 2;
      job.sample.count = 2;
      job.sample.seed = 4;
      run(job);
    }
  }

  EvaluateJob job() const {
    return {.pictures = {(folder_ / "painted").string()}, .base = (folder_ / "base").string()};
  }

  TempDir folder_;
};

TEST_F(Evaluating, ResamplesPromptsAndSeedsWherePicturesTellThem) {
  make_folders(folder_ / "painted");
  paint();
  auto ordered = job();
  ordered.references = (folder_ / "one").string();
  ordered.prompt = "a cat";
  ordered.out = (folder_ / "figures.json").string();
  ordered.page = (folder_ / "figures.html").string();
  const auto figures = run(ordered);
  EXPECT_EQ(figures.pictures, 4);
  EXPECT_EQ(figures.resampled, "prompts and seeds");
  const auto& image = figures.figure("image_alignment");
  EXPECT_LE(image.low, image.mean);
  EXPECT_GE(image.high, image.mean);
  EXPECT_TRUE(figures.references_among_themselves.has_value());
  const auto kept = read_json_file(ordered.out);
  EXPECT_EQ(kept.at("image_alignment"), image.mean);
  EXPECT_EQ(kept.at("options").at("prompt"), "a cat");
  const auto page = read_text_file(ordered.page);
  EXPECT_THAT(page, HasSubstr("a cat (seed 4)"));
  EXPECT_THAT(page, Not(AnyOf(HasSubstr("http:"), HasSubstr("https:"))));
}

TEST_F(Evaluating, TellsRegionsApart) {
  make_folders(folder_ / "painted");
  paint();
  auto ordered = job();
  ordered.region_references = {(folder_ / "one").string(), (folder_ / "two").string()};
  const auto figures = run(ordered);
  ASSERT_EQ(figures.regions.size(), 2U);
  // Of two, what one has more the other has less, but in other crops.
  for (const auto& region : figures.regions) {
    EXPECT_LE(region.margin.low, region.margin.mean);
    EXPECT_GT(region.identity.mean, 0.0);
  }
  ordered.region_references.push_back((folder_ / "one").string());
  EXPECT_THAT(test::error_of(ErrorKind::kMismatch, [&] { run(ordered); }),
              HasSubstr("has 2 regions, but --region-references names 3"));
}

TEST_F(Evaluating, NeverWritesOverAPicture) {
  auto ordered = job();
  ordered.pictures = {(folder_ / "one").string()};
  ordered.prompt = "a cat";
  ordered.page = (folder_ / "mine.html").string();
  write_text_file(ordered.page, "<p>my own page</p>");
  test::error_of(ErrorKind::kUsage, [&] { run(ordered); });
  EXPECT_EQ(read_text_file(ordered.page), "<p>my own page</p>");
}

}  // namespace
}  // namespace mos::jobs
