#include "mos/study/parts.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <iterator>
#include <set>
#include <sstream>

#include "mos/base/describe.h"
#include "mos/fuse/options.h"
#include "mos/region/guide.h"
#include "mos/study/plan.h"
#include "mos/study/titles.h"
#include "mos/tune/idle_options.h"
#include "mos/tune/plan.h"
#include "tests/study/made_up.h"

namespace mos::study {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::UnorderedElementsAre;

StudyOptions whole_study() { return {.base = "absent"}; }
StudyOptions quick_study(const std::string& method) {
  return {.base = "absent", .quick = true, .method = method};
}

std::vector<std::string> names_of(const Table& table) {
  std::vector<std::string> names;
  for (const auto& row : table.rows) names.push_back(row.name);
  return names;
}

const Row& row_called(const Table& table, std::string_view name) {
  const auto found = std::find_if(table.rows.begin(), table.rows.end(),
                                  [&](const Row& row) { return row.name == name; });
  if (found == table.rows.end()) throw std::out_of_range(std::string(name));
  return *found;
}

std::set<std::uint64_t> seeds_of(const Row& row) {
  std::set<std::uint64_t> seeds;
  for (const auto& shown : row.shown) {
    for (const auto& one : shown.model.concepts) seeds.insert(one.seed);
  }
  return seeds;
}

TEST(Parts, TellEveryChangeFromARowOfTheSameTunings) {
  const made_up::Study study(whole_study(), 12);
  for (const auto& part : parts()) {
    for (const auto& table : part.tables(study.ground)) {
      for (const auto& row : table.rows) {
        if (row.against.empty()) continue;
        EXPECT_EQ(seeds_of(row), seeds_of(row_called(table, row.against)))
            << table.title << ": " << row.name;
      }
    }
  }
}

TEST(Parts, CallEachRowOfATableDifferently) {
  for (const auto& method : tune::methods()) {
    const made_up::Study study({.base = "absent", .method = std::string(method.name)}, 12);
    for (const char* part : {"table1", "table2a", "curve", "regions"}) {
      for (const auto& table : study.tables(part)) {
        const auto names = names_of(table);
        EXPECT_EQ(std::set<std::string>(names.begin(), names.end()).size(), names.size())
            << table.title << " of " << method.name;
      }
    }
  }
}

TEST(Parts, HaveTheNameOfTheMethodThatIsStudied) {
  const made_up::Study study(quick_study("svdiff"), 3);
  for (const char* part : {"table1", "table2a", "regions"}) {
    const auto tables = study.tables(part);
    const auto names = names_of(tables.front());
    EXPECT_THAT(names, Contains("SVDiff, gradient fusion")) << part;
    EXPECT_THAT(names, Not(Contains(HasSubstr("ED-LoRA")))) << part;
  }
}

TEST(Parts, NeverMergeBySumTwice) {
  for (const auto& method : tune::methods()) {
    EXPECT_THAT(merges_for(std::string(method.name)), Not(Contains("concat")));
  }
}

TEST(Table1, HasEveryWayOfTuningThatKnowsAConcept) {
  const made_up::Study study(whole_study(), 12);
  const auto table = study.tables("table1").front();
  std::set<std::string> tuned;
  for (const auto& row : table.rows) {
    for (const auto& shown : row.shown) {
      for (const auto& one : shown.model.concepts) tuned.insert(one.method);
    }
  }
  for (const auto& method : tune::methods()) {
    const bool is_of_figure3 = method.name == "textual_inversion";  // P+ is the same with layers
    EXPECT_EQ(tuned.contains(std::string(method.name)), !is_of_figure3) << method.name;
  }
  EXPECT_THAT(names_of(table), Contains("Cones, union of neurons"));
  EXPECT_THAT(names_of(table), Contains("Orthogonal Adaptation, sum"));
  const auto& absent = row_called(table, "encoder-based methods");
  EXPECT_TRUE(absent.shown.empty());
  EXPECT_THAT(absent.left_out, HasSubstr("pretrained"));
}

TEST(Table1, SaysWhatItsRowsWereTunedWith) {
  const made_up::Study study({.base = "absent", .quick = true, .tune_steps = 41}, 3);
  const auto note = study.tables("table1").front().note;
  EXPECT_THAT(note, HasSubstr("P+ 41 x 2, 0.001, -, -, no weights"));
  EXPECT_THAT(note, HasSubstr("ED-LoRA 41 x 4, 0.001, 1e-05, 0.0001, low_rank in attention"));
}

TEST(Curve, TellsTheSameConceptsInEveryTable) {
  const made_up::Study study(whole_study(), 12);
  std::set<std::vector<const Subject*>> also;
  for (const auto& table : study.tables("curve")) {
    if (!table.also.empty()) also.insert(table.also);
  }
  ASSERT_EQ(also.size(), 1U);
  EXPECT_EQ(also.begin()->size(), 3U);
}

TEST(Parts, SayWhichMergesHaveFactors) {
  const made_up::Study study(whole_study(), 12);
  auto tables = study.tables("curve");
  tables.push_back(study.tables("table2a").back());
  for (const auto& table : tables) {
    EXPECT_THAT(table.note, HasSubstr("factor 1")) << table.title;
    for (const char* merge : {"sum", "svd", "ties", "dare", "magnitude"}) {
      EXPECT_THAT(table.note, HasSubstr(merge)) << table.title;
    }
  }
  EXPECT_THAT(study.tables("table2a").front().note, Not(HasSubstr("factor 1")));
  EXPECT_THAT(study.tables("table1").front().note, HasSubstr("sum has factor 1"));
}

TEST(Curve, TeachesNothingToOneConcept) {
  const made_up::Study study(whole_study(), 12);
  const auto tables = study.tables("curve");
  EXPECT_THAT(names_of(tables[0]), Not(Contains("distilled")));
  EXPECT_THAT(names_of(tables[1]), Contains("distilled"));
}

TEST(Figure3, PaintsWordsAloneAsEveryOtherTableDoes) {
  const made_up::Study study(whole_study(), 3);
  for (const auto& table : study.tables("figure3")) {
    EXPECT_EQ(row_called(table, "P+, words alone").shown.front().model.scale, 1.0);
    EXPECT_EQ(row_called(table, "LoRA, words alone").shown.front().model.scale, 0.0);
  }
}

/// Complete options of what a row is tuned and merged with, but for those that change nothing.
Json made_with(const Row& row, const StudyOptions& options) {
  const auto& model = row.shown.front().model;
  fuse::FuseOptions merge{.method = model.merge};
  read_options(model.merge_options, "the test", merge);
  const auto tuning = options_of(model.concepts.front(), options);
  const auto all = write_options(tuning);
  Json tuned_with = Json::object();
  for (const auto& [option, value] : all.items()) {
    if (!tune::is_idle(option, tuning)) tuned_with[option] = value;
  }
  return {tuned_with, write_options(merge)};
}

StudyOptions study_of(std::string_view method) {
  return {.base = "absent", .tune_seeds = 1, .method = std::string(method)};
}

TEST(Settings, DifferFromTheDefaultsAndFromEachOther) {
  for (const auto& method : tune::methods()) {
    const made_up::Study study(study_of(method.name), 3);
    std::set<Json> made;
    std::size_t rows = 0;
    const auto tables = study.tables("settings");
    for (const auto& row : tables.front().rows) {
      if (row.shown.front().model.merge.empty()) continue;  // alone, at some scale
      made.insert(made_with(row, study.options));
      ++rows;
    }
    EXPECT_EQ(made.size(), rows) << method.name;
  }
}

TEST(Settings, LeaveAMethodWhatItIs) {
  for (const auto& method : tune::methods()) {
    const made_up::Study study(study_of(method.name), 3);
    const auto usual = options_of({.method = std::string(method.name)}, study.options).weights;
    const auto tables = study.tables("settings");
    for (const auto& row : tables.front().rows) {
      const auto& concepts = row.shown.front().model.concepts;
      const auto weights = options_of(concepts.front(), study.options).weights;
      EXPECT_EQ(changes_weights(weights), changes_weights(usual))
          << row.name << " of " << method.name;
      if (usual.form == tune::WeightForm::kLowRank) continue;
      EXPECT_EQ(weights.where, usual.where) << row.name << " of " << method.name;
    }
  }
}

TEST(Settings, OfWordsAloneAreNoneOfWeights) {
  const made_up::Study study(study_of("p_plus"), 3);
  EXPECT_THAT(names_of(study.tables("settings").front()),
              UnorderedElementsAre("defaults", "token density 0.02", "words x 0.3", "words x 3",
                                   "half the steps", "half the batch", "stratified timesteps",
                                   "stratified timesteps, half the steps"));
}

TEST(Settings, OfPlainTextAreNoneOfWords) {
  const made_up::Study study(study_of("dreambooth"), 3);
  const auto names = names_of(study.tables("settings").front());
  for (const char* part : {"words x", "density", "drop"}) {
    EXPECT_THAT(names, Not(Contains(HasSubstr(part))));
  }
  EXPECT_THAT(names, Contains("U-Net x 3"));
  EXPECT_THAT(names, Contains("text ridge 0.1"));
}

TEST(Settings, OfKeysAndValuesAreNoneOfWhatReadsThePicture) {
  const made_up::Study study(study_of("custom_diffusion"), 3);
  const auto names = names_of(study.tables("settings").front());
  for (const char* part : {"U-Net ridge", "recorded steps", "a guidance of", "more round"}) {
    EXPECT_THAT(names, Not(Contains(HasSubstr(part))));
  }
  EXPECT_THAT(names, Contains("text ridge 0.1"));
  EXPECT_THAT(names, Contains(HasSubstr("five recorded prompts")));
}

std::set<std::string> words_in(const std::string& text) {
  std::istringstream stream(text);
  using Words = std::istream_iterator<std::string>;
  return {Words(stream), Words()};
}

TEST(Settings, RecordNothingThatIsMeasured) {
  const made_up::Study study(whole_study(), 3);
  std::set<std::string> measured;
  for (const auto& [category, prompts] : own_prompts()) {
    for (const auto& prompt : prompts) measured.merge(words_in(prompt));
  }
  for (const char* common : {"a", "photo", "of", "<TOK>"}) measured.erase(common);
  std::size_t rows = 0;
  const auto tables = study.tables("settings");
  for (const auto& row : tables.front().rows) {
    const auto& options = row.shown.front().model.merge_options;
    if (!options.contains("prompts")) continue;
    for (const auto& prompt : options.at("prompts").get<std::vector<std::string>>()) {
      for (const auto& word : words_in(prompt)) EXPECT_THAT(measured, Not(Contains(word)));
    }
    ++rows;
  }
  EXPECT_GT(rows, 0U);
}

TEST(Settings, OfTuningHaveEveryTuning) {
  const made_up::Study study(whole_study(), 3);
  const auto table = study.tables("settings").front();
  EXPECT_EQ(seeds_of(row_called(table, "rank 8")).size(), 3U);
  EXPECT_EQ(row_called(table, "rank 8").against, "defaults");
  EXPECT_EQ(seeds_of(row_called(table, "text ridge 0.1")).size(), 1U);
  EXPECT_EQ(row_called(table, "text ridge 0.1").against, "defaults, first tuning");
}

TEST(Settings, ThatWereChosenAreCheckedAndThenReportedTogether) {
  const made_up::Study study(whole_study(), 5);
  const auto tables = part_named("settings").checked(study.ground, {"rank 8", "text ridge 0.1"});
  ASSERT_EQ(tables.size(), 2U);
  const auto& check = tables[0];
  EXPECT_EQ(names_of(check), (std::vector<std::string>{"defaults", "rank 8", "text ridge 0.1",
                                                       "all that was chosen, together"}));
  for (const auto& row : check.rows) {
    EXPECT_EQ(seeds_of(row).size(), 3U) << row.name;
    for (const auto& shown : row.shown) EXPECT_EQ(shown.subjects.front()->set, Set::kCheck);
  }
  const auto& report = tables[1];
  ASSERT_EQ(report.rows.size(), 2U);
  const auto& model = report.rows[1].shown.front().model;
  EXPECT_EQ(report.rows[1].shown.front().subjects.front()->set, Set::kReport);
  EXPECT_EQ(model.concepts.front().options, (Json{{"rank", 8}}));
  EXPECT_EQ(model.merge_options, (Json{{"text_ridge", 0.1}}));
  EXPECT_TRUE(part_named("settings").checked(study.ground, {}).empty());
}

TEST(Regions, ArePaintedBySamplersThatCanBe) {
  const made_up::Study study(whole_study(), 12);
  std::set<region::Guide> guides;
  for (const auto& table : study.tables("regions")) {
    for (const auto& row : table.rows) {
      const auto& shown = row.shown.front();
      const auto& sampler = shown.sampler;
      region::check_sampler_options(sampler);
      guides.insert(sampler.guide);
      const bool by_prompt = sampler.compose == region::Compose::kSwitch ||
                             sampler.compose == region::Compose::kComposite || sampler.auto_regions;
      const bool by_place = sampler.hard_binding > 0 || (sampler.guide != region::Guide::kNone &&
                                                         guide_info(sampler.guide).needs_regions);
      EXPECT_FALSE(by_prompt && !shown.directly) << row.name;
      EXPECT_FALSE(by_place && shown.directly) << row.name;
      const bool has_words = shown.subjects.size() <= kMostInWords;
      const auto told = has_words ? ", places in words" : ", places by the prompt's order alone";
      EXPECT_EQ(row.name.ends_with(told), shown.directly) << row.name;
    }
  }
  EXPECT_EQ(guides.size(), choice_names(region::Guide{}).size());
}

TEST(Regions, OfLoraComposerAreOfConceptsThatAreNotMerged) {
  const made_up::Study study(whole_study(), 12);
  for (const auto& table : study.tables("regions")) {
    const auto& row = row_called(table, "LoRA-Composer, own text and layers");
    for (const auto& shown : row.shown) {
      EXPECT_EQ(shown.sampler.compose, region::Compose::kOwn);
      EXPECT_EQ(shown.model.compose, region::Compose::kOwn);
      EXPECT_EQ(shown.model.merge, "");
      EXPECT_EQ(shown.model.concepts.size(), shown.subjects.size());
    }
  }
}

TEST(Regions, SayWhatBoundedAttentionLacksThere) {
  const made_up::Study whole(whole_study(), 12), quick(quick_study("ed_lora"), 3);
  EXPECT_THAT(whole.tables("regions").front().note, HasSubstr("the loss of bounded attention"));
  EXPECT_THAT(quick.tables("regions").front().note, Not(HasSubstr("bounded attention")));
}

TEST(Regions, OfConceptsInTurnHaveAsManyStepsOfEach) {
  for (const std::int64_t steps : {30, 50, 16}) {
    const made_up::Study study({.base = "absent", .steps = steps}, 12);
    for (const auto& table : study.tables("regions")) {
      for (const auto& row : table.rows) {
        const auto& shown = row.shown.front();
        if (shown.sampler.compose != region::Compose::kSwitch) continue;
        std::vector<std::int64_t> turns(shown.subjects.size(), 0);
        for (std::int64_t step = 0; step < steps; ++step) {
          const auto turn = static_cast<std::size_t>(step / shown.sampler.switch_every);
          ++turns[turn % turns.size()];
        }
        const auto [least, most] = std::ranges::minmax(turns);
        const bool divides = steps % static_cast<std::int64_t>(turns.size()) == 0;
        EXPECT_EQ(most - least, divides ? 0 : 1) << steps << ": " << row.name;
      }
    }
  }
}

TEST(Regions, OfConceptsWithoutWordsAreNotSearchedFor) {
  const made_up::Study study({.base = "absent", .method = "dreambooth"}, 12);
  const auto tables = study.tables("regions");
  for (const auto& row : tables.front().rows) {
    EXPECT_EQ(row.shown.front().sampler.guide, region::Guide::kNone) << row.name;
    EXPECT_FALSE(row.shown.front().sampler.auto_regions) << row.name;
  }
}

TEST(Regions, HaveAModelOfThePicturedConceptsToCompareComposingWith) {
  const made_up::Study study(whole_study(), 12);
  for (const auto& table : study.tables("regions")) {
    const auto& row = row_called(table, "ED-LoRA, gradient fusion of the pictured alone");
    for (const auto& shown : row.shown) {
      EXPECT_EQ(shown.model.concepts.size(), shown.subjects.size());
      EXPECT_EQ(shown.model.merge, "gradient");
    }
    EXPECT_EQ(row.against, table.rows.front().name);
    EXPECT_EQ(table.rows.front().shown.front().model.concepts.size(), 12U);
  }
}

TEST(Regions, OfAllConceptsHaveThatModelOnce) {
  const made_up::Study study(whole_study(), 2);
  EXPECT_THAT(names_of(study.tables("regions").front()),
              Not(Contains("ED-LoRA, gradient fusion of the pictured alone")));
}

TEST(Titles, AreThoseOfThePapersOrTheNameItself) {
  EXPECT_EQ(row_title("ed_lora"), "ED-LoRA, alone");
  EXPECT_EQ(row_title("lora", "weight"), "LoRA, weight fusion");
  EXPECT_EQ(row_title("p_plus", "ties"), "P+, ties");
  for (const auto& method : tune::methods()) {
    EXPECT_NE(title_of_tuning(std::string(method.name)), method.name);
  }
}

}  // namespace
}  // namespace mos::study
