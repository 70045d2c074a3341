#include "mos/study/study.h"

#include <gmock/gmock.h>

#include "mos/base/file.h"
#include "mos/study/preference.h"
#include "tests/base/places.h"
#include "tests/study/drawn_concept.h"
#include "tests/support/tiny_judge.h"

/// Whole studies on a model that computes in milliseconds, whose judge is as random as itself.
namespace mos::study {
namespace {

namespace fs = std::filesystem;
using ::testing::AnyOf;
using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::Not;

class TinyStudy : public ::testing::Test {
 protected:
  TinyStudy() {
    tiny::save_with_judge(folder_ / "base");
    for (const char* name : {"aa", "bb"}) draw_concept(folder_ / "concepts", name, 2);
    write_text_file(folder_ / "prompts.txt", "a <TOK>\ncat <TOK>\n");
  }

  StudyOptions options() const {
    return {.base = (folder_ / "base").string(),
            .concepts = {(folder_ / "concepts").string()},
            .prompts = (folder_ / "prompts.txt").string(),
            .out = (folder_ / "out").string(),
            .parts = {"table2a", "regions"},
            .quick = true,
            .pictures = 2,
            .tune_steps = 2,
            .steps = 2};
  }

  /// How many cells it had to make, as the log says.
  StudyReport run(const StudyOptions& options) {
    said_.clear();
    jobs::JobContext context;
    context.log = [this](log::Level, std::string_view message) { (said_ += message) += "\n"; };
    return study::run(options, context);
  }

  std::string file(const char* name) const { return read_text_file(folder_ / "out" / name); }

  TempDir folder_;
  std::string said_;
};

TEST_F(TinyStudy, GoesOnWhereItWasAndMakesAnewWhatHasChanged) {
  const auto first = run(options());
  EXPECT_THAT(said_, HasSubstr("cells are to be made"));
  ASSERT_GE(first.tables.size(), 2U);
  const auto tables = file("study.md");

  const auto second = run(options());
  EXPECT_THAT(said_, Not(HasSubstr("cells are to be made")));
  EXPECT_EQ(file("study.md"), tables);
  EXPECT_EQ(second.tables.front().rows.front().figures.at("image").mean,
            first.tables.front().rows.front().figures.at("image").mean);

  auto longer = options();
  longer.tune_steps = 3;
  EXPECT_THAT(test::error_of(ErrorKind::kUsage, [&] { run(longer); }),
              HasSubstr("whose steps was 2 and is 3; give what it was made with, another "
                        "--out, or --anew"));
  EXPECT_EQ(file("study.md"), tables);
  longer.anew = true;
  run(longer);
  EXPECT_THAT(said_, HasSubstr("made anew: tune aa ed_lora 7, whose steps was 2 and is 3"));
}

TEST_F(TinyStudy, WhatCannotBeMadeIsAFailureOfItsRowsAlone) {
  const auto lacking = options();
  const auto whole = run(lacking);
  // Something that is no cell lies where the pictures of one row shall go.
  for (const auto& entry : fs::directory_iterator(folder_ / "out" / "cells" / "merge")) {
    if (entry.path().filename().string().find("weight") == std::string::npos) continue;
    fs::remove(entry.path() / "cell.json");
  }
  fs::remove_all(folder_ / "out" / "cells" / "paint");
  fs::remove_all(folder_ / "out" / "cells" / "measure");
  const auto report = run(lacking);
  EXPECT_THAT(report.failures, Contains(HasSubstr("it is no cell of a study")));
  // Of the two merges by weight one is in both parts: what failed is not tried again.
  const std::string refusal = "it is no cell of a study";
  std::size_t tried = 0;
  for (auto at = said_.find(refusal); at != std::string::npos; at = said_.find(refusal, at + 1)) {
    ++tried;
  }
  EXPECT_EQ(tried, 2U);
  const auto& rows = report.tables.front().rows;
  const auto fails = [](const RowResult& row) { return !row.failed.empty(); };
  EXPECT_EQ(std::ranges::count_if(rows, fails), 2);  // LoRA and ED-LoRA by weight fusion
  for (std::size_t i = 0; i < rows.size(); ++i) {
    if (fails(rows[i])) continue;
    EXPECT_EQ(rows[i].figures.at("image").mean,
              whole.tables.front().rows[i].figures.at("image").mean);
  }
  EXPECT_THAT(file("study.md"), HasSubstr("it is no cell of a study"));
}

TEST_F(TinyStudy, ACheckpointThatNobodyCanGoOnFromIsNoObstacle) {
  run(options());
  std::vector<fs::path> tunings;
  for (const auto& entry : fs::directory_iterator(folder_ / "out" / "cells" / "tune")) {
    tunings.push_back(entry.path());
  }
  const auto concept_file = tunings.front() / "concept.safetensors";
  const auto before = read_text_file(concept_file);
  const auto basis = read_json_file(tunings.front() / "cell.json").at("basis");
  const auto digest = digest_of(Cell{.kind = {}, .name = {}, .wish = {}, .basis = basis});
  fs::remove_all(tunings.front());
  write_text_file(tunings.front().string() + "." + digest.substr(0, 10) + ".checkpoint", "broken");
  run(options());
  EXPECT_THAT(said_, HasSubstr("the tuning begins anew"));
  EXPECT_EQ(read_text_file(concept_file), before);
}

TEST_F(TinyStudy, TellsEachPartWhenItIsDone) {
  CancelToken cancel;
  jobs::JobContext context;
  context.log = [&](log::Level, std::string_view message) {
    if (message.find("regions: ") == 0) cancel.cancel();
  };
  context.cancel = &cancel;
  test::error_of(ErrorKind::kCancelled, [&] { study::run(options(), context); });
  EXPECT_THAT(file("study.md"), HasSubstr("Table 2a"));
  EXPECT_THAT(file("study.md"), Not(HasSubstr("Pictures of 2")));
}

TEST_F(TinyStudy, WhatWasInterruptedIsNoObstacleForOtherOptions) {
  CancelToken cancel;
  jobs::JobContext context;
  context.progress = [&](const Progress&) { cancel.cancel(); };
  context.cancel = &cancel;
  test::error_of(ErrorKind::kCancelled, [&] { study::run(options(), context); });
  auto longer = options();
  longer.parts = {"table2a"};
  longer.tune_steps = 3;
  longer.anew = true;
  run(longer);
  for (const auto& entry : fs::directory_iterator(folder_ / "out" / "cells" / "tune")) {
    EXPECT_TRUE(entry.is_directory()) << entry.path();
  }
}

TEST_F(TinyStudy, LostCellsComeBackAsTheyWere) {
  run(options());
  const auto tables = file("study.json");
  fs::remove_all(folder_ / "out" / "cells" / "paint");
  fs::remove_all(folder_ / "out" / "cells" / "measure");
  run(options());
  EXPECT_EQ(file("study.json"), tables);
}

TEST_F(TinyStudy, ASamplerThatNobodyHasIsRefusedBeforeAnyWork) {
  auto wrong = options();
  wrong.scheduler = "eular";
  const auto error = test::error_of(ErrorKind::kUsage, [&] { check(wrong); });
  EXPECT_THAT(error, HasSubstr("--scheduler is \"eular\""));
}

TEST_F(TinyStudy, SaysWhatIsMissingWithoutMakingIt) {
  const auto before = forecast(options());
  EXPECT_EQ(before.kinds.at("tune").done, 0);
  EXPECT_EQ(before.kinds.at("tune").missing, 4);  // LoRA and ED-LoRA of two concepts
  EXPECT_GT(before.whole.seconds, 0.0);
  EXPECT_FALSE(fs::exists(folder_ / "out"));
  run(options());
  const auto after = forecast(options());
  for (const auto& [kind, count] : after.kinds) EXPECT_EQ(count.missing, 0) << kind;
}

TEST_F(TinyStudy, ChangesAreOfPairsAndPagesHoldEverything) {
  const auto report = run(options());
  const auto& table = report.tables.front();
  const auto& single = table.rows.front();
  EXPECT_EQ(single.name, "LoRA, alone");
  EXPECT_EQ(table.rows[1].against, single.name);
  EXPECT_NEAR(table.rows[1].changes.at("image").mean,
              table.rows[1].figures.at("image").mean - single.figures.at("image").mean, 1e-9);
  const auto html = file("study.html");
  EXPECT_THAT(html, HasSubstr("data:image/png;base64,"));
  EXPECT_THAT(html, Not(AnyOf(HasSubstr("http:"), HasSubstr("https:"))));
}

TEST_F(TinyStudy, SaysOfEveryRegionWhetherItShowsWhatItShould) {
  const auto report = run(options());
  const auto& table = report.tables.back();
  ASSERT_TRUE(table.of_several);
  for (const auto& row : table.rows) {
    for (const char* figure : {"text", "own", "margin"}) {
      EXPECT_TRUE(row.figures.contains(figure)) << row.name << ": " << figure;
    }
  }
  const auto& bounds = table.rows.back();
  EXPECT_EQ(bounds.name, "class words (bounds)");
  EXPECT_EQ(bounds.in_model, 0);
}

TEST_F(TinyStudy, PreferencesAreAskedBlindlyAndCounted) {
  run(options());
  const auto page = file(kPreferencePage);
  for (const char* name : {"gradient", "weight fusion", "ED-LoRA"}) {
    EXPECT_THAT(page, Not(HasSubstr(name)));
  }
  const auto key = parse_json(file(kPreferenceKey), "the key");
  Json answers = Json::object();
  std::int64_t pairs = 0;
  for (const auto& [id, ways] : key.at("pairs").items()) {
    const bool a_is_gradient = ways.at("a") == "ED-LoRA, gradient fusion";
    answers[id] = {{"image", a_is_gradient ? "a" : "b"}, {"text", a_is_gradient ? "b" : "a"}};
    ++pairs;
  }
  const Json told = {{"study", key.at("study")}, {"visit", "one"}, {"answers", answers}};
  write_text_file(folder_ / "one.json", told.dump());
  const auto out = folder_ / "out";
  const auto file_name = (folder_ / "one.json").string();
  const auto result = count_answers(out, {file_name, file_name});  // twice: once
  EXPECT_EQ(result.people, 1);
  ASSERT_EQ(result.ways.size(), 2U);
  EXPECT_EQ(result.ways[1].way, "ED-LoRA, gradient fusion");
  EXPECT_EQ(result.ways[1].image.mean, 1.0);
  EXPECT_EQ(result.ways[1].text.mean, 0.0);
  EXPECT_EQ(result.ways[1].image_answers, pairs);
  write_text_file(folder_ / "two.json", R"({"study": "another", "answers": {}})");
  test::error_of(ErrorKind::kMismatch,
                 [&] { count_answers(out, {(folder_ / "two.json").string()}); });
}

}  // namespace
}  // namespace mos::study
