#include "mos/study/result.h"

#include <gmock/gmock.h>

#include <functional>
#include <memory>

#include "mos/base/file.h"
#include "mos/base/json.h"
#include "tests/base/places.h"
#include "tests/study/made_up.h"
#include "tests/support/temp_dir.h"

namespace mos::study {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

/// What measuring the pictures of a prompt, by its number, finds.
using Found = std::function<Json(const Shown& shown, std::size_t prompt)>;

/// Tables whose figures are made up.
class Results : public ::testing::Test {
 protected:
  /// Of a study with so many tunings.
  const made_up::Study& study(std::int64_t tune_seeds, std::int64_t prompts) {
    study_ = std::make_unique<made_up::Study>(
        StudyOptions{.base = "absent", .prompts_each = prompts, .tune_seeds = tune_seeds}, 4);
    plan_ = std::make_unique<Plan>(study_->ground, basis_);
    return *study_;
  }

  const PlannedTable& planned(const Table& table) {
    plan_->add("table1", table);
    return plan_->tables().back();
  }

  void measure(const PlannedTable& planned, const Found& found) const {
    for (const auto& row : planned.rows) {
      for (std::size_t i = 0; i < row.measures.size(); ++i) {
        for (std::size_t p = 0; p < row.measures[i].size(); ++p) {
          const auto& cell = plan_->measures().at(row.measures[i][p]).cell;
          store_.get(cell, [&](const std::filesystem::path& folder) {
            write_text_file(folder / "figures.json", found(row.row.shown[i], p).dump());
          });
        }
      }
    }
  }

  TableResult result(const PlannedTable& planned) const {
    return result_of(planned, Done{store_, *plan_});
  }

  TempDir folder_;
  CellStore store_{folder_ / "cells"};
  Basis basis_{"base", "judge", "settings"};
  std::unique_ptr<made_up::Study> study_;
  std::unique_ptr<Plan> plan_;
};

std::vector<const Subject*> first_of(const made_up::Study& study, std::size_t count) {
  auto all = study.ground.of(Set::kReport);
  all.resize(count);
  return all;
}

TEST_F(Results, DrawTuningsWhereARowHasSeveral) {
  const auto& made = study(3, 2);
  const auto of_all = alone(made.ground, first_of(made, 2), "lora");
  auto of_first = of_all;
  of_first.resize(2);
  Table table{.title = "T"};
  table.rows = {{.name = "three", .shown = of_all}, {.name = "one", .shown = of_first}};
  const auto& all = planned(table);
  measure(all, [](const Shown& shown, std::size_t) {
    const auto tuning = static_cast<double>(shown.model.concepts.front().seed - 7);
    return Json{{"image", {0.2 + 0.3 * tuning, 0.2 + 0.3 * tuning}}};
  });
  const auto told = result(all);
  const auto &three = told.rows[0], &one = told.rows[1];
  EXPECT_EQ(three.tunings, 3);
  EXPECT_NEAR(three.figures.at("image").mean, 0.5, 1e-12);
  EXPECT_NEAR(three.figures.at("image").low, 0.2, 1e-12);
  EXPECT_NEAR(three.figures.at("image").high, 0.8, 1e-12);
  EXPECT_EQ(one.tunings, 1);
  EXPECT_NEAR(one.figures.at("image").high, 0.2, 1e-12);
}

/// Two groups of two in one row.
Table of_groups(const made_up::Study& study) {
  const auto all = study.ground.of(Set::kReport);
  Table table{.title = "T", .of_several = true};
  Row row{.name = "regions"};
  for (const auto& company : {std::vector{all[0], all[1]}, std::vector{all[2], all[3]}}) {
    row.shown.push_back(
        {.model = model_of(study.ground, company, {.tune = "lora"}), .subjects = company});
  }
  table.rows = {row};
  return table;
}

TEST_F(Results, OfSeveralDrawNeitherRegionsNorGroups) {
  const auto& made = study(1, 3);
  const auto& all = planned(of_groups(made));
  // In each picture one region is itself and the other is not: half of them, whatever is drawn.
  measure(all, [&](const Shown& shown, std::size_t) {
    const double at_left = shown.subjects.front()->name == "r0" ? 1.0 : 0.0;
    const double at_right = 1.0 - at_left;
    return Json{{"own", {{at_left, at_left}, {at_right, at_right}}},
                {"margin", {{at_left - 0.5, at_left - 0.5}, {at_right - 0.5, at_right - 0.5}}}};
  });
  const auto row = result(all).rows.front();
  for (const auto& interval : {row.figures.at("own"), *row.positive}) {
    EXPECT_NEAR(interval.mean, 0.5, 1e-12);
    EXPECT_NEAR(interval.low, 0.5, 1e-12);
    EXPECT_NEAR(interval.high, 0.5, 1e-12);
  }
  EXPECT_EQ(row.in_model, 2);
}

TEST_F(Results, SharesVaryWithThePromptsThatTheyAreOf) {
  const auto& made = study(1, 4);
  const auto& all = planned(of_groups(made));
  measure(all, [](const Shown&, std::size_t prompt) {
    const double margin = prompt < 2 ? 0.1 : -0.1;  // the same in all regions and seeds
    return Json{{"margin", {{margin, margin}, {margin, margin}}}};
  });
  const auto positive = *result(all).rows.front().positive;
  EXPECT_NEAR(positive.mean, 0.5, 1e-12);
  EXPECT_NEAR(positive.low, 0.0, 1e-12);  // one resample of sixteen has the last two prompts alone
  EXPECT_NEAR(positive.high, 1.0, 1e-12);
}

TEST_F(Results, ThatFailedHaveNoFiguresAndNothingIsToldFromThem) {
  const auto& made = study(1, 1);
  Table table{.title = "T"};
  const auto subjects = first_of(made, 1);
  table.rows = {
      {.name = "lost", .shown = alone(made.ground, subjects, "lora")},
      {.name = "there", .against = "lost", .shown = alone(made.ground, subjects, "p_plus")},
      {.name = "never", .left_out = "nobody can"}};
  auto all = planned(table);
  measure(all, [](const Shown&, std::size_t) { return Json{{"image", Json::array({0.5})}}; });
  all.rows[0].failed = "it diverged";
  const auto told = result(all);
  EXPECT_EQ(told.rows[0].failed, "it diverged");
  EXPECT_THAT(told.rows[0].figures, IsEmpty());
  EXPECT_THAT(told.rows[0].paintings, IsEmpty());
  EXPECT_EQ(told.rows[1].figures.size(), 1U);
  EXPECT_THAT(told.rows[1].changes, IsEmpty());
  EXPECT_EQ(told.rows[2].left_out, "nobody can");
  EXPECT_EQ(to_json(told).at("rows").at(0).at("failed"), "it diverged");
}

TEST_F(Results, TellSomeConceptsApart) {
  const auto& made = study(1, 1);
  Table table{.title = "T", .also = first_of(made, 1)};
  table.rows = {{.name = "all", .shown = alone(made.ground, first_of(made, 2), "lora")}};
  const auto& all = planned(table);
  measure(all, [](const Shown& shown, std::size_t) {
    return Json{{"image", Json::array({shown.subjects.front()->name == "r0" ? 0.9 : 0.1})}};
  });
  const auto row = result(all).rows.front();
  EXPECT_NEAR(row.figures.at("image").mean, 0.5, 1e-12);
  EXPECT_NEAR(row.figures.at("also").mean, 0.9, 1e-12);
}

TEST_F(Results, KeepThePicturesOfEveryPrompt) {
  const auto& made = study(1, 3);
  Table table{.title = "T"};
  table.rows = {{.name = "all", .shown = alone(made.ground, first_of(made, 1), "lora")}};
  const auto& all = planned(table);
  measure(all, [](const Shown&, std::size_t) { return Json{{"image", Json::array({0.5})}}; });
  const auto told = result(all);
  std::vector<std::string> texts;
  for (const auto& painting : told.rows.front().paintings) texts.push_back(painting.text);
  EXPECT_THAT(texts, ElementsAre("a photo of a cat", "a cat on the beach", "a cat in the snow"));
  EXPECT_EQ(told.least_prompts, 3);
  EXPECT_EQ(told.most_prompts, 3);
}

RowResult setting(const std::string& name, double image, double text, double half = 0.01) {
  RowResult row{.name = name, .group = "rank"};
  row.changes["image"] = {image, image - half, image + half};
  row.changes["text"] = {text, text - half, text + half};
  return row;
}

TEST(BestOfGroups, GainsImageAlignmentSurelyAndLosesLittleText) {
  TableResult table;
  table.rows = {setting("bought with text", 0.3, -2.0 * kTextTolerance),
                setting("unsure", 0.2, 0.0, 0.25), setting("good", 0.05, -0.5 * kTextTolerance),
                setting("better", 0.1, 0.0)};
  RowResult failed{.name = "failed", .group = "length", .failed = "it diverged"};
  table.rows.push_back(failed);
  EXPECT_THAT(best_of_groups(table), ElementsAre("better"));
}

}  // namespace
}  // namespace mos::study
