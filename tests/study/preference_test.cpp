#include "mos/study/preference.h"

#include <fmt/core.h>
#include <gmock/gmock.h>

#include <set>

#include "mos/base/file.h"
#include "mos/base/json.h"
#include "mos/io/image.h"
#include "mos/study/titles.h"
#include "tests/study/made_up.h"
#include "tests/support/temp_dir.h"

namespace mos::study {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

/// A study of one concept with paintings of `prompts` prompts.
class Preferences : public ::testing::Test {
 protected:
  StudyReport report(const std::string& method, int prompts) {
    StudyReport report;
    report.options.method = method;
    auto subject = made_up::subject("aa");
    subject.folder = folder_ / "aa";
    draw(subject.folder);
    report.subjects = {subject};
    TableResult table{.part = "table2a"};
    for (const char* merge : {"weight", "gradient"}) {
      RowResult row{.name = row_title(method, merge), .of_subject = {{"aa", 0.5}}};
      for (int p = 0; p < prompts; ++p) {
        const auto folder = folder_ / fmt::format("{} {}", merge, p);
        draw(folder);
        row.paintings.push_back({"aa", fmt::format("prompt {}", p + 1), folder});
      }
      table.rows.push_back(row);
    }
    report.tables = {table};
    return report;
  }

  /// Eight pictures.
  void draw(const std::filesystem::path& folder) const {
    make_folders(folder);
    for (int i = 0; i < 8; ++i) {
      io::write_png(folder / fmt::format("{:04}.png", i + 1),
                    torch::full({16, 16, 3}, i, torch::kUInt8));
    }
  }

  TempDir folder_;
};

TEST_F(Preferences, AreAskedAboutPromptsFromAllOverTheStudy) {
  const auto pairs = pairs_of(report("ed_lora", 20));
  std::vector<std::string> prompts;
  std::set<std::string> seeds;
  for (const auto& pair : pairs) {
    prompts.push_back(pair.prompt);
    seeds.insert(pair.picture_a.filename().string());
    EXPECT_EQ(pair.picture_a.filename(), pair.picture_b.filename());  // one seed
  }
  EXPECT_THAT(prompts, ElementsAre("prompt 1", "prompt 6", "prompt 11", "prompt 16"));
  EXPECT_EQ(seeds.size(), prompts.size());
}

TEST_F(Preferences, OfFewPromptsAreAskedAboutTwoPicturesOfEach) {
  EXPECT_EQ(pairs_of(report("ed_lora", 1)).size(), 2U);
  EXPECT_EQ(pairs_of(report("ed_lora", 2)).size(), 4U);
  EXPECT_EQ(pairs_of(report("ed_lora", 3)).size(), 3U);
}

TEST_F(Preferences, AreBetweenTheWaysOfTheMethodThatIsStudied) {
  std::set<std::string> ways;
  for (const auto& pair : pairs_of(report("lora", 20))) {
    ways.insert(pair.way_a);
    ways.insert(pair.way_b);
  }
  EXPECT_EQ(ways, (std::set<std::string>{"LoRA, gradient fusion", "LoRA, weight fusion"}));
}

TEST_F(Preferences, AreAsSureAsPeopleAreManyWhateverTheyAnswer) {
  write_preference(folder_.path(), report("lora", 20));
  // Each person answers every pair in favour of one way.
  const auto answers_of = [&](const std::string& person, const std::string& way) {
    const auto key = read_json_file(folder_ / kPreferenceKey);
    Json answers = Json::object();
    for (const auto& [id, ways] : key.at("pairs").items()) {
      answers[id] = {{"image", ways.at("a") == way ? "a" : "b"}};
    }
    const Json told = {{"study", key.at("study")}, {"visit", person}, {"answers", answers}};
    const auto file = folder_ / (person + ".json");
    write_text_file(file, told.dump());
    return file.string();
  };
  const auto one = answers_of("one", "LoRA, gradient fusion");
  const auto two = answers_of("two", "LoRA, gradient fusion");
  const auto three = answers_of("three", "LoRA, weight fusion");
  const auto of_all = count_answers(folder_.path(), {one, two, three});
  EXPECT_EQ(of_all.people, 3);
  EXPECT_EQ(of_all.ways[1].image_answers, 3 * 4);
  EXPECT_NEAR(of_all.ways[1].image.mean, 2.0 / 3, 1e-12);
  EXPECT_EQ(of_all.ways[1].image.low, 0.0);  // one draw in 27 is of the third person alone
  EXPECT_EQ(of_all.ways[1].image.high, 1.0);
  EXPECT_THAT(preference_text(of_all), HasSubstr("| 66.7 % [0.0, 100.0] | no answers |"));
  const auto alone = preference_text(count_answers(folder_.path(), {one}));
  EXPECT_THAT(alone, HasSubstr("| 100.0 % | no answers |"));
  EXPECT_THAT(alone, HasSubstr("no interval over people"));
}

TEST_F(Preferences, WithoutAnswersAreOfEveryWayAllTheSame) {
  write_preference(folder_.path(), report("lora", 20));
  const auto result = count_answers(folder_.path(), {});
  ASSERT_EQ(result.ways.size(), 2U);
  EXPECT_EQ(result.ways[0].way, "LoRA, weight fusion");
  EXPECT_EQ(result.ways[1].image_answers, 0);
}

}  // namespace
}  // namespace mos::study
