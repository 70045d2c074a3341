#include "mos/study/report.h"

#include <gmock/gmock.h>

#include "mos/base/file.h"
#include "mos/io/image.h"
#include "tests/study/made_up.h"
#include "tests/support/temp_dir.h"

namespace mos::study {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

/// A report of made-up figures, whose concepts have pictures.
class Reports : public ::testing::Test {
 protected:
  Reports() {
    report_.options = complete_options({.base = "absent", .parts = {"table1", "settings"}});
    for (const char* name : {"aa", "bb"}) {
      auto subject = made_up::subject(name);
      subject.folder = folder_ / name;
      report_.subjects.push_back(subject);
      for (int i = 0; i < 2; ++i) draw(name, i);
    }
    report_.ceilings = {{"aa", {{"image", 0.6}, {"dino", 0.3}}},
                        {"bb", {{"image", 0.8}, {"dino", 0.5}}}};
  }

  void draw(const std::string& name, int number) const {
    make_folders(folder_ / name);
    io::write_png(folder_ / name / (std::to_string(number) + ".png"),
                  torch::zeros({16, 16, 3}, torch::kUInt8));
  }

  static TableResult table(const std::vector<RowResult>& rows) {
    return {.part = "table1",
            .title = "Table 1",
            .note = "Two concepts.",
            .rows = rows,
            .subjects = {"aa", "bb"},
            .least_prompts = 20,
            .most_prompts = 20};
  }

  static RowResult row(const std::string& name, double image) {
    RowResult row{.name = name, .tunings = 3};
    row.figures["image"] = {image, image - 0.1, image + 0.1};
    return row;
  }

  TempDir folder_;
  StudyReport report_;
};

TEST_F(Reports, SayWhyARowHasNoFigures) {
  report_.tables = {table({row("there", 0.5),
                           {.name = "lost", .failed = "the loss is no number"},
                           {.name = "never", .left_out = "nobody can"}})};
  const auto text = tables_text(report_);
  EXPECT_THAT(text, HasSubstr("| there | 0.500 [0.400, 0.600] | 3 |"));
  EXPECT_THAT(text, HasSubstr("| lost | failed: the loss is no number |"));
  EXPECT_THAT(text, HasSubstr("| never | left out: nobody can |"));
  EXPECT_THAT(page_text(report_), HasSubstr("failed: the loss is no number"));
}

TEST_F(Reports, HaveACeilingOfTheOwnPictures) {
  auto there = row("there", 0.5);
  report_.tables = {table({there})};
  EXPECT_THAT(tables_text(report_), HasSubstr("| own pictures (ceiling) | 0.700 |  |"));
  there.figures["dino"] = {0.2, 0.1, 0.3};
  report_.tables = {table({there})};
  EXPECT_THAT(tables_text(report_), HasSubstr("| own pictures (ceiling) | 0.700 | 0.400 |  |"));
}

TEST_F(Reports, HaveNoCeilingOfOnePicture) {
  report_.ceilings.erase("aa");
  report_.tables = {table({row("there", 0.5)})};
  const auto text = tables_text(report_);
  EXPECT_THAT(text, Not(HasSubstr("ceiling")));
  EXPECT_THAT(text, HasSubstr("| concept | image alignment | DINO |"));
  EXPECT_THAT(text, HasSubstr("| aa | - | - |"));
  EXPECT_THAT(text, HasSubstr("| bb | 0.800 | 0.500 |"));
}

TEST_F(Reports, SayUnderWhichConditionsATableWasMeasured) {
  report_.tables = {table({row("there", 0.5)})};
  EXPECT_THAT(tables_text(report_),
              HasSubstr("Prompts: 20 of each concept, 8 pictures of each prompt. Text alignment is "
                        "of the prompt with nothing before it; no DINO."));
  report_.options.text_prefix = "A photo depicts";
  report_.options.dino = "dino-vits16";
  EXPECT_THAT(tables_text(report_),
              HasSubstr("\"A photo depicts\" before it; DINO is dino-vits16."));
}

TEST_F(Reports, OfSeveralConceptsSayHowManyAreInTheModel) {
  auto regions = table({});
  regions.of_several = true;
  RowResult first{.name = "first", .tunings = 1, .in_model = 12};
  first.figures["own"] = {0.5, 0.4, 0.6};
  first.positive = eval::Interval{0.75, 0.5, 1.0};
  auto second = first;
  second.name = "second";
  second.in_model = 2;
  second.changes["own"] = {-0.1, -0.2, 0.0};
  regions.rows = {first, second};
  report_.tables = {regions};
  const auto text = tables_text(report_);
  EXPECT_THAT(text, HasSubstr("|  | identity | change of identity | margins above 0 | in the model "
                              "| tunings |"));
  EXPECT_THAT(text, HasSubstr("| first | 0.500 [0.400, 0.600] |  | 75 % [50, 100] | 12 | 1 |"));
  EXPECT_THAT(text, HasSubstr("| -0.100 [-0.200, +0.000] | 75 % [50, 100] | 2 | 1 |"));
}

TEST_F(Reports, SayWhichPartsAreNotThereYet) {
  report_.tables = {table({row("there", 0.5)})};
  EXPECT_THAT(tables_text(report_), Not(HasSubstr("Still to come")));
  report_.to_come = {"curve", "settings"};
  EXPECT_THAT(tables_text(report_), HasSubstr("Still to come: curve, settings."));
}

TEST_F(Reports, SayByWhichRuleSettingsAreChosen) {
  report_.tables = {table({row("there", 0.5)})};
  EXPECT_THAT(tables_text(report_), Not(HasSubstr("Chosen")));  // there are no settings yet
  report_.tables.front().part = "settings";
  report_.chosen = {"rank 8"};
  EXPECT_THAT(tables_text(report_), HasSubstr("Chosen: rank 8. Of each group"));
  EXPECT_THAT(tables_text(report_), HasSubstr("lose no more than 0.05 of text alignment"));
}

}  // namespace
}  // namespace mos::study
