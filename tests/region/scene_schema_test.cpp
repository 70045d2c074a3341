#include <gmock/gmock.h>

#include <set>
#include <string>

#include "mos/base/error.h"
#include "mos/base/file.h"
#include "mos/base/json.h"
#include "mos/region/region.h"
#include "tests/support/errors.h"
#include "tests/support/spoiled.h"

/// docs/openapi.json describes the scenes that are read and written here.
namespace mos::region {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

Json schema(const char* name) {
  const auto document = read_json_file(MOS_SOURCE_DIR "/docs/openapi.json");
  return document.at("components").at("schemas").at(name).at("properties");
}

std::set<std::string> keys(const Json& object) {
  std::set<std::string> names;
  for (const auto& [name, value] : object.items()) names.insert(name);
  return names;
}

Scene read(const Json& scene) { return scene_from_json(scene, "a scene", {64, 64}); }

/// Objects with every key of the schema, each region with one place.
const Json kRegion = {{"prompt", "a"}, {"negative_prompt", "b"}, {"name", "c"}, {"weight", 0.5},
                      {"feather", 1},  {"start", 0.25},          {"end", 0.75}};
const Json kStroke = {{"points", {{8, 8}, {32, 32}}}, {"width", 4}, {"erase", false}};
const Json kCondition = {{"adapter", "x"},
                         {"picture", "y"},
                         {"weight", 0.5},
                         {"start", 0.25},
                         {"end", 0.75},
                         {"guess_mode", true},
                         {"adapter_sha256", std::string(64, '0')},
                         {"picture_sha256", std::string(64, '0')},
                         {"boxes", {{{"box", {0, 0, 32, 32}}, {"weight", 0.5}}}}};

Json full_scene() {
  Json regions = Json::array();
  const Json places = {{"box", {0, 0, 32, 32}},
                       {"polygon", {{0, 0}, {0, 32}, {32, 0}}},
                       {"mask", "m.png"},
                       {"drawing", {kStroke}},
                       {"background", true}};
  for (const auto& [name, place] : places.items()) {
    regions.push_back(kRegion);
    regions.back()[name] = place;
    if (name == "mask") regions.back()["mask_sha256"] = std::string(64, '0');
  }
  return {{"prompt", "p"},
          {"negative_prompt", "n"},
          {"root_prompt", "r"},
          {"root_negative_prompt", "s"},
          {"height", 64},
          {"width", 64},
          {"overlap", "front"},
          {"base_ratio", 0.5},
          {"isolate", true},
          {"regions", regions},
          {"conditions", {kCondition}}};
}

TEST(SceneSchema, HasTheKeysThatAreReadAndWritten) {
  const auto given = full_scene();
  EXPECT_EQ(keys(schema("Scene")), keys(given));
  EXPECT_EQ(keys(schema("SceneCondition")), keys(kCondition));
  EXPECT_EQ(keys(schema("SceneStroke")), keys(kStroke));
  std::set<std::string> of_regions;
  for (const auto& region : given.at("regions")) of_regions.merge(keys(region));
  EXPECT_EQ(keys(schema("SceneRegion")), of_regions);
  Scene scene;
  ASSERT_NO_THROW(scene = read(given));  // which refuses what it does not know
  const auto written = scene_to_json(scene);
  EXPECT_EQ(keys(written), keys(given));
  EXPECT_EQ(keys(written.at("conditions")[0]), keys(kCondition));
  std::set<std::string> written_of_regions;
  for (const auto& region : written.at("regions")) written_of_regions.merge(keys(region));
  EXPECT_EQ(written_of_regions, of_regions);
}

TEST(SceneFile, RefusesEveryValueOfAnotherTypeAndSaysWhere) {
  for (const auto& [scene, key, shown] : test::spoiled(full_scene())) {
    const auto message = test::message_of(ErrorKind::kUsage, [&] { read(scene); });
    EXPECT_THAT(message, StartsWith("a scene")) << shown;
    EXPECT_THAT(message, HasSubstr(key)) << shown;
  }
}

TEST(SceneFile, RefusesEveryNumberThatIsImpossibleAndSaysWhere) {
  const auto given = full_scene(), flat = given.flatten();
  for (const auto& [way, value] : flat.items()) {
    if (!value.is_number()) continue;
    for (const Json& number : {Json(-1), Json(1e30)}) {
      if (number == -1 && way.ends_with("weight") && way.starts_with("/condition")) continue;
      auto scene = given;
      scene.at(Json::json_pointer(way)) = number;
      const auto message = test::message_of(ErrorKind::kUsage, [&] { read(scene); });
      EXPECT_THAT(message, StartsWith("a scene")) << way << " = " << number;
      const auto list = way.substr(1, way.find('/', 1) - 2);  // regions, conditions
      const bool is_of_list = way.find('/', 1) != way.npos;
      EXPECT_THAT(message, HasSubstr(is_of_list ? list : "a scene")) << way;
    }
  }
}

}  // namespace
}  // namespace mos::region
