#include "mos/base/yaml.h"

#include <gmock/gmock.h>

#include "mos/base/error.h"

namespace mos {
namespace {

using ::testing::HasSubstr;

std::string yaml_refusal(const std::string& text) {
  try {
    const auto value = parse_yaml(text, "x.yaml");
    ADD_FAILURE() << text << " was read as " << quoted(value);
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kFormat);
    return error.what();
  }
  return "";
}

TEST(ParseYaml, IsTheJsonThatTheCoreSchemaSays) {
  const std::pair<const char*, const char*> cases[] = {
      {"", "null"},
      {"# nothing but a comment\n", "null"},
      {"---\na: 1\n", R"({"a": 1})"},
      {"a: {b: [1, 2.5, x], c: {}}\n", R"({"a": {"b": [1, 2.5, "x"], "c": {}}})"},
      {"a:\n- 1\n-\n  b: ~\n", R"({"a": [1, {"b": null}]})"},
      {"a: +1\nb: -1\nc: 1e-6\nd: .5\n", R"({"a": 1, "b": -1, "c": 1e-6, "d": 0.5})"},
      {"a: '1'\nb: \"true\"\nc: True\nd: yes\n",
       R"({"a": "1", "b": "true", "c": true, "d": "yes"})"},
      {"a: |\n  two\n  lines\n", R"({"a": "two\nlines\n"})"},
      {"a: x # y\nb: 'it''s'\nc: &anchor 1\n", R"({"a": "x", "b": "it's", "c": 1})"},
      {"a: .inf\nb: .nan\nc: 0x10\n", R"({"a": ".inf", "b": ".nan", "c": "0x10"})"},
  };
  for (const auto& [yaml, json] : cases) {
    EXPECT_EQ(parse_yaml(yaml, "x"), parse_json(json, "x")) << yaml;
  }
}

TEST(ParseYaml, ANumberTooLargeIsNotZero) {
  const auto value = parse_yaml("timesteps: 99999999999999999999\n", "x");
  EXPECT_EQ(value.at("timesteps"), 1e20);
  std::int64_t field = 0;
  EXPECT_FALSE(assign_json(value.at("timesteps"), field));
}

TEST(ParseYaml, RefusesWithTheLine) {
  EXPECT_THAT(yaml_refusal("a: 1\nb: [1\nc: 2\n"), HasSubstr("cannot read x.yaml, line"));
  EXPECT_THAT(yaml_refusal("a: 1\nb: *a\n"), HasSubstr("x.yaml, line 2: "));
  EXPECT_THAT(yaml_refusal("a: &x 1\nb: *x\n"), HasSubstr("aliases"));
  EXPECT_THAT(yaml_refusal("a: !!python/object:os.system 1\n"), HasSubstr("the tag"));
  EXPECT_THAT(yaml_refusal("a: 1\n---\nb: 1\n"), HasSubstr("several documents"));
  EXPECT_THAT(yaml_refusal("? [a, b]\n: 1\n"), HasSubstr("expected a text"));
  EXPECT_THAT(yaml_refusal("a: 1\na: 2\n"), HasSubstr("key \"a\" twice"));
  EXPECT_THAT(yaml_refusal("\ta: 1\n"), HasSubstr("line 1"));
}

TEST(ParseYaml, BytesThatAreNotUtf8AreRefused) {
  EXPECT_THAT(yaml_refusal("a: caf\xe9\n"), HasSubstr("not UTF-8"));
  EXPECT_THAT(yaml_refusal("a: \"\\ud800\"\n"), HasSubstr("line 1"));
}

TEST(ParseYaml, DepthAndSizeAreBounded) {
  std::string dashes;
  for (int i = 0; i < 60'000; ++i) dashes += "- ";
  const auto brackets = std::string(60'000, '[') + std::string(60'000, ']');
  EXPECT_THAT(yaml_refusal(dashes + "1\n"), HasSubstr("nested deeper"));
  EXPECT_THAT(yaml_refusal(brackets), HasSubstr("nested deeper"));
  EXPECT_THAT(yaml_refusal(std::string(kMaxYamlBytes + 1, 'a')), HasSubstr("more than"));
}

}  // namespace
}  // namespace mos
