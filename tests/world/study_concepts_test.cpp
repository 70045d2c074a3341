#include <gmock/gmock.h>

#include <algorithm>
#include <map>
#include <set>

#include "mos/base/json.h"
#include "mos/world/sample_concepts.h"
#include "tests/world/artwork.h"

namespace mos::world {
using test::artwork;

namespace {

bool is_of_world(const std::string& style) {
  const auto& styles = all_styles();
  return std::any_of(styles.begin(), styles.end(),
                     [&](const Style& known) { return known.folder == style; });
}

TEST(StudyConcepts, AreFiveCharactersFiveObjectsAndTwoScenesHalfOfThemInOtherStyles) {
  std::map<ConceptCategory, int> categories;
  int unknown = 0, reported = 0;
  for (const auto& [drawn, set] : study_concepts()) {
    if (set != "report") continue;
    ++reported;
    ++categories[drawn.category];
    if (!is_of_world(drawn.style)) ++unknown;
  }
  EXPECT_EQ(categories[ConceptCategory::kCharacter], 5);
  EXPECT_EQ(categories[ConceptCategory::kObject], 5);
  EXPECT_EQ(categories[ConceptCategory::kScene], 2);
  EXPECT_EQ(2 * unknown, reported);
}

TEST(StudyConcepts, AreNothingThatAnybodyIsTrainedOnAndInOneSetAlone) {
  const auto all = artwork();
  std::set<Json> known;
  for (const auto& [name, source] : all.at("subjects").items()) known.insert(source);
  for (const auto& [name, entry] : all.at("concepts").items()) known.insert(entry.at("source"));
  std::set<std::string> names;
  for (const auto& [drawn, set] : study_concepts()) {
    EXPECT_TRUE(names.insert(drawn.name).second) << drawn.name;
    const auto& entry = all.at("study").at(drawn.name);
    EXPECT_EQ(entry.at("style"), drawn.style) << drawn.name;
    EXPECT_TRUE(known.insert(entry.at("source")).second) << drawn.name;
  }
  EXPECT_EQ(names.size(), all.at("study").size());
}

}  // namespace
}  // namespace mos::world
