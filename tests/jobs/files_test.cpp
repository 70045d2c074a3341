#include <gmock/gmock.h>

#include <string>
#include <vector>

#include "mos/base/file.h"
#include "mos/concepts/concept_file.h"
#include "mos/concepts/concept_writer.h"
#include "mos/io/image.h"
#include "mos/jobs/condition.h"
#include "mos/jobs/convert_concept.h"
#include "mos/jobs/convert_model.h"
#include "mos/jobs/random_model.h"
#include "mos/jobs/sample.h"
#include "mos/session/inspect.h"
#include "tests/base/places.h"
#include "tests/support/temp_dir.h"
#include "tests/support/tiny_model.h"

// Jobs about files, for a program that has no command line.

namespace {

namespace fs = std::filesystem;
using mos::ErrorKind;
using mos::TempDir;
using mos::concepts::ConceptDelta;
using mos::jobs::JobContext;
using mos::test::error_of;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

class FileJobs : public testing::Test {
 protected:
  FileJobs() { mos::tiny::model().save(folder_ / "model"); }

  std::string at(const std::string& name) const { return (folder_ / name).string(); }

  /// A word with one row, and a pair for one layer of the tiny model.
  void save_concept(const std::string& name) const {
    ConceptDelta delta;
    delta.words.push_back({"<cat1>", torch::rand({1, 16})});
    delta.updates[mos::checkpoint::Part::kUNet]
                 ["down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k"] =
        mos::concepts::LowRank{.down = torch::rand({2, 16}), .up = torch::rand({8, 2})};
    mos::concepts::save_concept(folder_ / name, delta);
  }

  JobContext context() {
    JobContext context;
    context.result = [this](const std::string& line) { results_.push_back(line); };
    context.log = [](mos::log::Level, std::string_view) {};
    return context;
  }

  TempDir folder_;
  std::vector<std::string> results_;
};

TEST_F(FileJobs, AModelIsTheSameInEveryLayout) {
  EXPECT_TRUE(mos::jobs::is_model(at("model")));
  run(mos::jobs::ConvertModelJob{.in = at("model"), .out = at("single.safetensors")}, context());
  EXPECT_TRUE(mos::jobs::is_model(at("single.safetensors")));
  run(mos::jobs::ConvertModelJob{.in = at("single.safetensors"), .out = at("again")}, context());
  EXPECT_THAT(results_, ElementsAre(at("single.safetensors"), at("again")));
  const auto hash = [](const std::string& path) {
    return mos::diffusion::model_hash(mos::diffusion::Model::load(path));
  };
  EXPECT_EQ(hash(at("again")), hash(at("model")));
}

TEST_F(FileJobs, AConceptIsCutToWhatIsAskedFor) {
  save_concept("concept.safetensors");
  EXPECT_FALSE(mos::jobs::is_model(at("concept.safetensors")));
  mos::jobs::ConvertConceptJob job{.in = at("concept.safetensors"), .out = at("word.pt")};
  job.to = "a1111";
  job.only = mos::jobs::Half::kWords;
  job.word = "<cat1>=cat2";
  run(job, context());
  EXPECT_THAT(results_, ElementsAre(at("word.pt")));
  const auto read = mos::concepts::read_concept_file(folder_ / "word.pt").delta;
  EXPECT_EQ(read.layer_count(), 0U);
  ASSERT_EQ(read.words.size(), 1U);
  job.out = at("lora.safetensors");
  job.to = "kohya";
  job.only = mos::jobs::Half::kLora;
  job.word = "";
  run(job, context());
  EXPECT_TRUE(mos::concepts::read_concept_file(folder_ / "lora.safetensors").delta.words.empty());
}

TEST_F(FileJobs, WhatIsImpossibleIsSaidBeforeAnythingIsRead) {
  using mos::jobs::ConvertConceptJob;
  const auto refusal = [](const auto& job) {
    return error_of(ErrorKind::kUsage, [&] { check(job); });
  };
  EXPECT_THAT(refusal(ConvertConceptJob{.in = "absent"}), HasSubstr("--out"));
  EXPECT_THAT(refusal(ConvertConceptJob{.in = "absent", .out = "a.pt", .to = "a1112"}),
              HasSubstr("did you mean 'a1111'"));
  EXPECT_THAT(refusal(ConvertConceptJob{.in = "absent", .out = "a.pth", .word = "=cat"}),
              HasSubstr("WORD=NEW"));
  EXPECT_THAT(refusal(mos::jobs::ConvertModelJob{.in = "absent", .out = "a", .dtype = "fp8"}),
              HasSubstr("float16"));
  EXPECT_THAT(refusal(mos::jobs::ConditionJob{.photo = "absent.jpg", .out = "a.jpg"}),
              HasSubstr(".png"));
  EXPECT_THAT(refusal(mos::jobs::RandomModelJob{}), HasSubstr("--out"));
}

TEST_F(FileJobs, AnOutputNeverTakesThePlaceOfWhatIsRead) {
  save_concept("concept.safetensors");
  const auto before = mos::read_text_file(folder_ / "concept.safetensors");
  const mos::jobs::ConvertConceptJob job{.in = at("concept.safetensors"),
                                         .out = at("concept.safetensors")};
  EXPECT_NE(error_of(ErrorKind::kUsage, [&] { run(job, context()); }), "");
  EXPECT_EQ(mos::read_text_file(folder_ / "concept.safetensors"), before);
}

TEST_F(FileJobs, APreviewNeverTakesThePlaceOfAFileOfOthers) {
  mos::write_text_file(folder_ / "new-1.preview.png", "mine");
  auto job = mos::jobs::sample_job({{"base", at("model")},
                                    {"prompt", "a {cat|b}"},  // each painted alone, with a preview
                                    {"out", at("new.png")},
                                    {"dtype", "float32"},
                                    {"steps", 4},
                                    {"count", 2},
                                    {"batch", 2},
                                    {"preview", 1}},
                                   "the request");
  EXPECT_THAT(error_of(ErrorKind::kUsage, [&] { run(job, context()); }),
              HasSubstr("new-1.preview.png"));
  EXPECT_EQ(mos::read_text_file(folder_ / "new-1.preview.png"), "mine");
  EXPECT_FALSE(fs::exists(folder_ / "new-0.png"));
}

TEST_F(FileJobs, ACancelledOneLeavesNothing) {
  save_concept("concept.safetensors");
  mos::CancelToken cancel;
  cancel.cancel();
  auto told = context();
  told.cancel = &cancel;
  EXPECT_NE(error_of(ErrorKind::kCancelled,
                     [&] {
                       run(mos::jobs::ConvertModelJob{.in = at("model"), .out = at("other")}, told);
                     }),
            "");
  EXPECT_NE(error_of(ErrorKind::kCancelled,
                     [&] {
                       run(mos::jobs::ConvertConceptJob{.in = at("concept.safetensors"),
                                                        .out = at("other.pth")},
                           told);
                     }),
            "");
  EXPECT_FALSE(fs::exists(folder_ / "other"));
  EXPECT_FALSE(fs::exists(folder_ / "other.pth"));
  EXPECT_THAT(results_, ElementsAre());
}

TEST_F(FileJobs, ARandomModelIsMadeByItsSeedAlone) {
  fs::copy(folder_ / "model", folder_ / "configs", fs::copy_options::recursive);
  const auto config = folder_ / "configs/text_encoder/config.json";
  auto settings = mos::read_json_file(config);
  settings["vocab_size"] = 49408;  // its tokenizer is CLIP's
  settings["max_position_embeddings"] = 77;
  mos::write_text_file(config, settings.dump());
  mos::jobs::RandomModelJob job{.out = at("a"), .config = at("configs"), .seed = 3};
  run(job, context());
  job.out = at("b");
  run(job, context());
  for (const fs::path name :
       {"unet/diffusion_pytorch_model.safetensors", "text_encoder/model.safetensors"}) {
    EXPECT_TRUE(mos::read_text_file(folder_ / "a" / name) ==
                mos::read_text_file(folder_ / "b" / name))
        << name;
  }
  job.seed = 4;
  EXPECT_NE(error_of(ErrorKind::kUsage, [&] { run(job, context()); }), "") << "it stands already";
}

TEST_F(FileJobs, TheEdgesOfAPhotoAreAPicture) {
  auto photo = torch::zeros({16, 32, 3}, torch::kUInt8);
  photo.slice(1, 16).fill_(255);
  mos::io::write_png(folder_ / "photo.png", photo);
  const mos::jobs::ConditionJob job{.photo = at("photo.png"), .out = at("edges.png")};
  EXPECT_EQ(run(job, context()), at("edges.png"));
  EXPECT_TRUE(mos::io::read_image(folder_ / "edges.png")
                  .pixels.equal(mos::io::edge_picture(photo, job.edges)));
}

TEST_F(FileJobs, InspectionSaysWhatAFileIsAndWhetherItFits) {
  save_concept("concept.safetensors");
  EXPECT_EQ(mos::session::inspect(folder_ / "model").at("kind"), "model folder");
  const auto report = mos::session::inspect(folder_ / "concept.safetensors");
  EXPECT_EQ(report.at("file"), at("concept.safetensors"));
  EXPECT_EQ(report.at("sha256").get<std::string>().size(), 64U);
  auto base = mos::diffusion::Model::shapes(folder_ / "model");
  EXPECT_TRUE(mos::session::fit_onto(folder_ / "concept.safetensors", base).fits);
  EXPECT_THAT(error_of(ErrorKind::kUsage, [&] { mos::session::fit_onto(folder_ / "model", base); }),
              HasSubstr("goes onto no base model"));
}

}  // namespace
