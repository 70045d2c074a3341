#include "mos/study/plan.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <set>

#include "mos/base/error.h"
#include "mos/base/file.h"
#include "mos/fuse/method.h"
#include "mos/study/workbench.h"
#include "mos/world/sample_concepts.h"
#include "tests/base/places.h"
#include "tests/support/temp_dir.h"
#include "tests/support/tiny_model.h"

namespace mos::study {
namespace {

using ::testing::Contains;
using ::testing::Each;
using ::testing::HasSubstr;
using ::testing::Not;

/// The drawn concepts without their pictures.
std::vector<Subject> drawn_subjects(std::size_t reported) {
  std::vector<Subject> subjects;
  for (const auto& [drawn, set] : world::study_concepts()) {
    const auto words = drawn.words();
    Subject subject{.name = drawn.name,
                    .set = *choice_named<Set>(set),
                    .category = drawn.category == world::ConceptCategory::kScene    ? "scene"
                                : drawn.category == world::ConceptCategory::kObject ? "object"
                                                                                    : "character",
                    .style = drawn.style,
                    .class_word = drawn.class_word,
                    .words = {words.begin(), words.end()},
                    .digest = drawn.name};
    if (subject.set == Set::kReport && subjects.size() >= reported) continue;
    subjects.push_back(subject);
  }
  return subjects;
}

struct Planned {
  explicit Planned(const StudyOptions& given, std::size_t reported)
      : options(complete_options(given)),
        ground{options, prompts, drawn_subjects(reported)},
        plan(ground, basis) {
    for (const auto& name : options.parts) {
      for (const auto& table : part_named(name).tables(ground)) plan.add(name, table);
    }
  }
  StudyOptions options;
  Prompts prompts = own_prompts();
  Ground ground;
  Basis basis{"base", "judge", "settings"};
  Plan plan;
};

StudyOptions quick(std::vector<std::string> parts) {
  return {.base = "absent", .parts = std::move(parts), .quick = true};
}

TEST(Plan, OfAQuickStudyMakesEachThingOnce) {
  const Planned all(quick({"table1", "table2a"}), 3);
  // P+, Custom Diffusion, LoRA and ED-LoRA of three concepts, which both tables share.
  EXPECT_EQ(all.plan.tunings().size(), 4 * 3);
  // Those of all but P+, which has none; LoRA and gradient are those of table 1, ED-LoRA by weight
  // is new.
  EXPECT_EQ(all.plan.merges().size(), 4);
  // Class words, four tunings and four merges, three concepts each, three prompts of each.
  EXPECT_EQ(all.plan.paintings().size(), (1 + 4 + 4) * 3 * 3);
  EXPECT_EQ(all.plan.measures().size(), all.plan.paintings().size());
  for (const auto& [key, cell] : all.plan.tunings()) {
    EXPECT_LE(cell.options.optimiser.steps, 100);
  }
}

TEST(Plan, OfAWholeStudyHasARowForEveryMergeThatThereIs) {
  const Planned all({.base = "absent", .parts = {"table2a"}}, 12);
  std::set<std::string> merges;
  for (const auto& [key, cell] : all.plan.merges()) merges.insert(cell.spec.merge);
  EXPECT_EQ(merges.size(), fuse::methods().size() - 1);  // concat is sum, stored otherwise
  EXPECT_EQ(all.plan.tunings().size(), 2 * 12 * 3);      // LoRA and ED-LoRA, three seeds
}

TEST(Plan, OfAnotherScheduleHeadsScalingOrTokenizerIsAnother) {
  using checkpoint::Part;
  const auto model = tiny::model();
  EXPECT_EQ(settings_hash(model), settings_hash(tiny::model(/*seed=*/2)));
  std::set<std::string> hashes = {settings_hash(model)};
  auto other = model;
  other.settings.scheduler_config["prediction_type"] = "v_prediction";
  hashes.insert(settings_hash(other));
  other = model;
  other.settings.configs.at(Part::kVae)["scaling_factor"] = 1.0;
  hashes.insert(settings_hash(other));
  other = model;
  other.settings.configs.at(Part::kUNet)["attention_head_dim"] = 4;
  hashes.insert(settings_hash(other));
  other = model;
  other.towers[0].tokenizer.add_token("<word>");
  hashes.insert(settings_hash(other));
  EXPECT_EQ(hashes.size(), 5U);
  const Planned all(quick({"regions"}), 3);
  for (const auto& [key, cell] : all.plan.tunings()) {
    EXPECT_EQ(cell.cell.basis.at("base_settings"), "settings");
  }
  for (const auto& [key, cell] : all.plan.paintings()) {
    EXPECT_EQ(cell.cell.basis.at("base_settings"), "settings");
  }
}

TEST(Plan, SharesSeedsAndPromptsAmongAllRows) {
  const Planned all(quick({"table1"}), 3);
  std::set<Json> seeds;
  std::map<std::string, std::set<std::string>> prompts;
  for (const auto& [key, cell] : all.plan.paintings()) seeds.insert(cell.cell.basis.at("seed"));
  EXPECT_EQ(seeds.size(), 1U);
  for (const auto& [key, cell] : all.plan.measures()) {
    prompts[cell.subjects.front()->name].insert(cell.texts.front());
  }
  for (const auto& [name, texts] : prompts) EXPECT_EQ(texts.size(), 3U) << name;
}

TEST(Plan, CallsEveryConceptAsItsTuningDoes) {
  const auto prompts_of = [](const std::string& method) {
    const Planned all({.base = "absent", .parts = {"table1"}, .quick = true}, 3);
    std::set<std::string> prompts;
    for (const auto& [key, cell] : all.plan.paintings()) {
      const auto& concepts = cell.spec.model.concepts;
      if (concepts.empty() || concepts.front().method != method) continue;
      prompts.insert(cell.spec.scene.prompt);
    }
    return prompts;
  };
  EXPECT_THAT(prompts_of("ed_lora"), Contains("a photo of a <genie1> <genie2>"));
  // It tunes one word, behind which the class word stands.
  EXPECT_THAT(prompts_of("custom_diffusion"), Contains("a photo of a <genie1> man"));
  EXPECT_THAT(prompts_of("custom_diffusion"), Each(Not(HasSubstr("<genie2>"))));
}

TEST(Plan, RecordsOtherNoiseThanItMeasures) {
  const Planned all(quick({"table1"}), 3);
  const auto last = all.options.seed + static_cast<std::uint64_t>(all.options.pictures);
  for (const auto& [key, cell] : all.plan.merges()) EXPECT_GT(cell.options.record.seed, last);
}

TEST(Plan, ChoosesSettingsOnOtherConceptsThanItReports) {
  const Planned all({.base = "absent", .parts = {"settings"}, .tune_seeds = 1}, 12);
  for (const auto& [key, cell] : all.plan.tunings()) EXPECT_EQ(cell.subject->set, Set::kChoose);
  const auto checked = part_named("settings").checked(all.ground, {"rank 8"});
  ASSERT_EQ(checked.size(), 2U);  // and what it is worth on those that are reported
  ASSERT_EQ(checked.front().rows.size(), 2U);
  EXPECT_EQ(checked.front().rows.back().shown.front().subjects.front()->set, Set::kCheck);
}

TEST(Plan, AsksWhatAShorterTuningCosts) {
  const Planned all({.base = "absent", .parts = {"settings"}, .tune_steps = 41}, 12);
  const auto tables = part_named("settings").tables(all.ground);
  std::map<std::string, Json> length;
  for (const auto& row : tables.front().rows) {
    if (row.group == "length") length[row.name] = row.settings.at("tune");
  }
  const std::map<std::string, Json> expected = {
      {"half the steps", {{"steps", 20}}},  // of those that the study says
      {"half the batch", {{"batch", 2}}},
      {"stratified timesteps", {{"timesteps", "stratified"}}},
      {"stratified timesteps, half the steps", {{"timesteps", "stratified"}, {"steps", 20}}}};
  EXPECT_EQ(length, expected);
  // All are tunings of their own: what is tuned is what is asked for.
  std::set<Json> tuned;
  for (const auto& [key, cell] : all.plan.tunings()) {
    const auto options = write_options(cell.options);
    tuned.insert(Json::array({options.at("steps"), options.at("batch"), options.at("timesteps")}));
  }
  EXPECT_EQ(tuned, (std::set<Json>{{41, 4, "independent"},
                                   {20, 4, "independent"},
                                   {41, 2, "independent"},
                                   {41, 4, "stratified"},
                                   {20, 4, "stratified"}}));
}

TEST(Plan, HasAMarginAndATextForEveryRegion) {
  const Planned all(quick({"regions"}), 12);
  for (const auto& [key, cell] : all.plan.measures()) {
    EXPECT_EQ(cell.boxes.size(), cell.subjects.size());
    ASSERT_EQ(cell.texts.size(), cell.subjects.size());
    for (std::size_t i = 0; i < cell.texts.size(); ++i) {
      EXPECT_THAT(cell.texts[i], HasSubstr(cell.subjects[i]->class_word));
      EXPECT_THAT(cell.texts[i], Not(HasSubstr("<")));  // the judge knows no concept
    }
    for (std::size_t i = 1; i < cell.boxes.size(); ++i) {
      EXPECT_LE(cell.boxes[i - 1].right, cell.boxes[i].left);
    }
  }
}

TEST(Places, AreWhatMeasuresDependOn) {
  const Planned all(quick({"regions", "table1"}), 12);
  for (const auto& [key, cell] : all.plan.measures()) {
    const auto& boxes = cell.cell.basis.at("boxes");
    ASSERT_EQ(boxes.size(), cell.boxes.size());
    for (std::size_t i = 0; i < boxes.size(); ++i) {
      const auto& [top, left, bottom, right] = cell.boxes[i];
      EXPECT_EQ(boxes[i], (Json{top, left, bottom, right}));
    }
  }
}

TEST(Places, AreSaidInTheWordsOfTheBasesCaptions) {
  EXPECT_EQ(placed_together({"A", "B"}), "A on the left and a B on the right");
  EXPECT_EQ(placed_together({"A", "B", "C"}),
            "A on the left, a B in the middle and a C on the right");
  EXPECT_EQ(placed_together({"A", "B", "C", "D"}), "A, a B, a C and a D");
  EXPECT_EQ(listed_together({"A", "B"}), "A and a B");
}

TEST(Places, AreSaidWhereThereAreNoRegions) {
  const Planned all(quick({"regions"}), 12);
  std::size_t without = 0;
  for (const auto& [key, cell] : all.plan.paintings()) {
    const auto& scene = cell.spec.scene;
    const bool says = scene.prompt.find(" on the left") != std::string::npos;
    EXPECT_EQ(says, scene.regions.empty() && cell.spec.columns <= 3) << scene.prompt;
    without += scene.regions.empty() ? 1 : 0;
  }
  EXPECT_GT(without, 0U);
}

TEST(Places, AreWholeTilesOfEveryLayer) {
  for (std::size_t count = 1; count <= 12; ++count) {
    const auto boxes = places(count);
    ASSERT_EQ(boxes.size(), count);
    for (const std::int64_t side : {1, 4, 7, 8, 16, 64}) {  // positions of a tile
      for (std::size_t i = 0; i < count; ++i) {
        const auto columns = static_cast<std::int64_t>(count) * side;
        const auto inside = region::on_features(boxes[i], side, columns);
        EXPECT_EQ(inside.top, 0);
        EXPECT_EQ(inside.bottom, side);
        EXPECT_EQ(inside.left, static_cast<std::int64_t>(i) * side);
        EXPECT_EQ(inside.right, static_cast<std::int64_t>(i + 1) * side);
      }
    }
  }
}

TEST(Plan, OfRegionsHasWhatTheBaseMakesOfClassWords) {
  const Planned all(quick({"regions"}), 12);
  const auto& rows = all.plan.tables().front().rows;
  ASSERT_EQ(rows.back().row.name, "class words (bounds)");
  for (const auto& shown : rows.back().measures) {
    for (const auto& measure : shown) {
      const auto& painting = all.plan.paintings().at(all.plan.measures().at(measure).paint);
      EXPECT_TRUE(painting.spec.model.concepts.empty());
      EXPECT_EQ(painting.spec.scene.regions.size(), 2U);
      EXPECT_THAT(painting.spec.scene.prompt, Not(HasSubstr("<")));
    }
  }
}

TEST(Plan, OfRegionsDistilsWhatItCan) {
  const auto distils = [](const std::string& method) {
    const Planned all({.base = "absent", .parts = {"regions"}, .method = method}, 12);
    return std::ranges::any_of(
        all.plan.merges(), [](const auto& entry) { return entry.second.spec.merge == "distill"; });
  };
  EXPECT_TRUE(distils("ed_lora"));
  EXPECT_FALSE(distils("svdiff"));  // which has no pairs of factors
}

TEST(Subjects, AreInOneSetAlone) {
  auto subjects = drawn_subjects(12);
  check_disjoint(subjects);
  subjects.back().digest = subjects.front().digest;
  EXPECT_THAT(test::error_of(ErrorKind::kUsage, [&] { check_disjoint(subjects); }),
              HasSubstr("share their pictures"));
}

TEST(Prompts, OfAFileNameTheConcept) {
  const TempDir folder;
  write_text_file(folder / "prompts.txt", "a <TOK> in a box\n\n  <TOK>, etching \n");
  const auto prompts = read_prompts(folder / "prompts.txt");
  EXPECT_EQ(prompts.at("scene"), (std::vector<std::string>{"a <TOK> in a box", "<TOK>, etching"}));
  write_text_file(folder / "bad.json", R"({"object": ["a box"]})");
  EXPECT_THAT(test::error_of(ErrorKind::kUsage, [&] { read_prompts(folder / "bad.json"); }),
              HasSubstr("\"a box\" without <TOK>"));
  write_text_file(folder / "kind.json", R"({"animal": ["a <TOK>"]})");
  EXPECT_THAT(test::error_of(ErrorKind::kUsage, [&] { read_prompts(folder / "kind.json"); }),
              HasSubstr("\"animal\""));
}

TEST(OwnPrompts, AreTwentyOfEachCategory) {
  for (const auto& [category, prompts] : own_prompts()) EXPECT_EQ(prompts.size(), 20U) << category;
}

}  // namespace
}  // namespace mos::study
