#include "mos/studio/schema_check.h"

#include <gtest/gtest.h>

namespace mos::studio {
namespace {

std::size_t problems(const Json& value, const Json& schema) {
  return schema_problems(value, schema, schema, "it").size();
}

TEST(SchemaCheck, FindsEachKindOfMistakeAndNothingElse) {
  const Json schema = {{"type", "object"},
                       {"additionalProperties", false},
                       {"required", {"steps"}},
                       {"properties",
                        {{"steps", {{"type", "integer"}, {"minimum", 1}, {"maximum", 9}}},
                         {"kind", {{"type", {"string", "null"}}, {"enum", {"a", "b"}}}},
                         {"list", {{"type", "array"}, {"items", {{"type", "number"}}}}}}}};
  EXPECT_EQ(problems({{"steps", 1}, {"kind", nullptr}, {"list", {1, 2.5}}}, schema), 0U);
  EXPECT_EQ(problems({{"steps", 1}, {"kind", "b"}}, schema), 0U);
  for (const Json& wrong :
       {Json::object(), Json{{"steps", 0}}, Json{{"steps", 10}}, Json{{"steps", 1.5}},
        Json{{"steps", "1"}}, Json{{"steps", true}}, Json{{"steps", 1}, {"kind", "c"}},
        Json{{"steps", 1}, {"list", {"x"}}}, Json{{"steps", 1}, {"stesp", 2}}, Json::array()}) {
    EXPECT_EQ(problems(wrong, schema), 1U) << wrong.dump();
  }
  EXPECT_NE(schema_problems({{"stesp", 1}}, schema, schema, "").back().find("steps"),
            std::string::npos);
}

TEST(SchemaCheck, FollowsReferencesAndAlternatives) {
  const Json document = {{"defs", {{"whole", {{"type", "integer"}}}}}};
  const Json schema = {{"oneOf", {{{"$ref", "#/defs/whole"}}, {{"type", "null"}}}}};
  EXPECT_TRUE(schema_problems(3, schema, document, "it").empty());
  EXPECT_TRUE(schema_problems(nullptr, schema, document, "it").empty());
  EXPECT_FALSE(schema_problems("3", schema, document, "it").empty());
}

}  // namespace
}  // namespace mos::studio
