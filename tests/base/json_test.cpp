#include "mos/base/json.h"

#include <gmock/gmock.h>

#include <chrono>
#include <cmath>
#include <limits>

#include "mos/base/describe.h"
#include "mos/base/error.h"
#include "mos/base/text.h"
#include "tests/support/errors.h"

namespace mos {
namespace {

using test::message_of;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

std::string json_refusal(const std::string& text) {
  return message_of(ErrorKind::kFormat, [&] { parse_json(text, "x.json"); });
}

std::string nested(std::size_t depth) { return std::string(depth, '[') + std::string(depth, ']'); }

TEST(ParseJson, IsWhatTheLibraryReads) {
  for (const char* text :
       {"{}", "[]", "null", " 1 ", "-2", "1.5", "18446744073709551615", "99999999999999999999",
        R"({"b": [1, {"c": null}], "a": "caf\u00e9", "": {"": []}})", R"(["", true, false])"}) {
    EXPECT_EQ(parse_json(text, "x"), Json::parse(text)) << text;
    EXPECT_EQ(parse_json(text, "x").dump(), Json::parse(text).dump()) << text;
  }
}

TEST(ParseJson, RefusesWithThePlaceAndInOneLine) {
  const std::pair<std::string, const char*> mistakes[] = {
      {"{\"a\": }", "line 1, column 7 has } where a value is expected"},
      {"", "it is empty"},
      {" \n", "it is empty"},
      {"{} {}", "line 1, column 4 has { where the end is expected"},
      {"{\"a\":\n [1, NaN]}", "line 2, column 6 has NaN, which is no number of JSON"},
      {"[-Infinity]", "line 1, column 2 has -Infinity, which is no number of JSON"},
      {"[1e999]", "line 1, column 2 has 1e999, which is too large for a number"},
      {"[1, 2,\n]", "line 2, column 1 has ] behind a comma; the last entry has none behind it"},
      {"{\"a\": 1, }", "line 1, column 10 has } behind a comma; the last entry has none behind it"},
      {"[\"é\", tru]", "line 1, column 7 has tru where a value is expected"},
      {"[True]", "line 1, column 2 has True; JSON writes true"},
      {"{'a': 1}", "line 1, column 2 has '; JSON has double quotes around texts and keys"},
      {"{\"a\" 1}", "line 1, column 6 has 1 where a colon is expected"},
      {"{a: 1}", "line 1, column 2 has a where a key in double quotes is expected"},
      {"[1 2]", "line 1, column 4 has 2 where a comma or ] is expected"},
      {"{\"a\": 1 \"b\": 2}", "line 1, column 9 has \"b\" where a comma or } is expected"},
      {"[1.]", "line 1, column 4 has ] where a digit is expected"},
      {"[1] // two", "line 1, column 5 has /; JSON has no comments"},
      {"{\"a\": [1,", "it ends at line 1, column 10, before it is complete; was it cut off?"},
      {"{\"a\": \"b", "it ends at line 1, column 9, before it is complete; was it cut off?"},
      {"[\"a\nb\"]", "line 1, column 4 has the end of the line in a text"},
      {"[\"a\\qb\"]", "a backslash in a text that means nothing"},
      {"[\"surrogate \\q\"]", "a backslash in a text that means nothing"},
      {R"(["\ud800"])", "line 1, column 9 has half of a surrogate pair"},
      {R"(["\ud800\u0041"])", "has half of a surrogate pair"},
      {R"(["\ud800\n"])", "has half of a surrogate pair"},
      {"[\"\\ud800\n\"]", "has half of a surrogate pair"},
      {R"(["\ude00\ud83d"])", "has half of a surrogate pair"},
      {R"({"\udfff": 1})", "has half of a surrogate pair"},
      {R"(["\u12"])", "a \\u in a text without four hexadecimal digits behind it"},
      {"[\"caf\xe9t\"]", "line 1, column 6 has the byte 0xe9, which is not UTF-8"}};
  for (const auto& [text, mistake] : mistakes) {
    EXPECT_THAT(json_refusal(text), StartsWith("x.json is not valid JSON: "));
    EXPECT_THAT(json_refusal(text), HasSubstr(mistake));
    EXPECT_THAT(json_refusal(text), Not(HasSubstr("syntax error")));
  }
  const auto message = json_refusal("[" + std::string(100'000, 'x'));
  EXPECT_LT(message.size(), 400U);
  EXPECT_EQ(message.find('\n'), std::string::npos);
}

TEST(ParseJson, AKeyThatComesTwiceIsAMistake) {
  EXPECT_THAT(json_refusal(R"({"a": 1, "b": {"a": 2}, "a": 3})"), HasSubstr("key \"a\" twice"));
}

TEST(ParseJson, DepthIsBounded) {
  EXPECT_NO_THROW(parse_json(nested(kMaxJsonDepth), "x"));
  EXPECT_THAT(json_refusal(nested(kMaxJsonDepth + 1)), HasSubstr("nested deeper than 100 levels"));
  EXPECT_THAT(json_refusal(std::string(1'000'000, '[')), HasSubstr("nested deeper"));
  std::string keys;
  for (int i = 0; i < 100'000; ++i) keys += "{\"a\":";
  EXPECT_THAT(json_refusal(keys), HasSubstr("nested deeper"));
}

TEST(ParseJson, ValuesAreBoundedAndKeysTakeLinearTime) {
  std::string many = "{";
  for (int i = 0; i < 200'000; ++i) many += (i == 0 ? "\"" : ",\"") + std::to_string(i) + "\":0";
  const auto start = std::chrono::steady_clock::now();
  EXPECT_EQ(parse_json(many + "}", "x").size(), 200'000U);
  // A lookup among all keys before each one takes minutes.
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(10));
  std::string zeros = "[0";
  for (std::size_t i = 0; i < kMaxJsonValues; ++i) zeros += ",0";
  EXPECT_THAT(json_refusal(zeros + "]"), HasSubstr("more than 1000000 values"));
}

template <typename T>
std::optional<T> assigned(const Json& value) {
  T field{};
  return assign_json(value, field) ? std::optional(field) : std::nullopt;
}

TEST(AssignJson, TakesOnlyValuesThatAreOfTheTypeAsTheyStand) {
  EXPECT_EQ(assigned<std::int64_t>(3), 3);
  EXPECT_EQ(assigned<std::int64_t>(-3), -3);
  for (const auto& value : {Json(2.7), Json(2.0), Json(1e30), Json(true), Json("3"), Json(nullptr),
                            Json(std::numeric_limits<std::uint64_t>::max())}) {
    EXPECT_EQ(assigned<std::int64_t>(value), std::nullopt) << value;
  }
  EXPECT_EQ(assigned<std::uint64_t>(-1), std::nullopt);
  EXPECT_EQ(assigned<int>(std::int64_t{1} << 40), std::nullopt);
  EXPECT_EQ(assigned<double>(3), 3.0);
  EXPECT_EQ(assigned<double>(true), std::nullopt);
  EXPECT_EQ(assigned<double>(NAN), std::nullopt);
  EXPECT_EQ(assigned<double>(INFINITY), std::nullopt);
  EXPECT_EQ(assigned<bool>(1), std::nullopt);
  EXPECT_EQ(assigned<std::string>(1), std::nullopt);
  EXPECT_EQ(assigned<std::vector<double>>(Json{1, 2.5}), (std::vector<double>{1, 2.5}));
  EXPECT_EQ(assigned<std::vector<double>>(Json{1, "2"}), std::nullopt);
  EXPECT_EQ(assigned<std::vector<double>>(1), std::nullopt);
  std::optional<double> optional = 1.0;
  EXPECT_TRUE(assign_json(nullptr, optional));
  EXPECT_EQ(optional, std::nullopt);
}

struct Settings {
  std::int64_t count = 1;
  double scale = 1.0;
  std::optional<std::string> name;
};

template <class Visitor>
void describe(Visitor& visit, Settings& settings) {
  visit("count", settings.count, "");
  visit("scale", settings.scale, "");
  visit("name", settings.name, "");
}

TEST(JsonRequired, SaysThatAKeyMayBeThereWithoutAValue) {
  for (const char* text : {"{}", R"({"count": null})"}) {
    const auto json = parse_json(text, "x");
    EXPECT_EQ(message_of(ErrorKind::kFormat, [&] { json_required<int>(json, "count"); }),
              "\"count\" is missing or null");
  }
}

TEST(ReadOptions, IsAsStrictAsFlags) {
  const auto refused = [](const char* text) {
    Settings settings;
    return message_of(ErrorKind::kUsage,
                      [&] { read_options(parse_json(text, "x"), "run.json", settings); });
  };
  EXPECT_EQ(refused(R"({"count": 2.7})"), "run.json: \"count\" is 2.7, expected a whole number");
  EXPECT_THAT(refused(R"({"count": null})"), HasSubstr("\"count\" is null"));
  EXPECT_THAT(refused(R"({"scale": "1"})"), HasSubstr("expected a number"));
  EXPECT_THAT(refused(R"({"name": 1})"), HasSubstr("expected a text or null"));
  EXPECT_THAT(refused(R"({"name": "a\u0000b"})"), HasSubstr("expected a text without U+0000"));
  EXPECT_LT(refused(("{\"scale\": \"" + std::string(100'000, 'x') + "\"}").c_str()).size(), 400U);
  Settings settings;
  read_options(parse_json(R"({"count": 3, "name": null})", "x"), "run.json", settings);
  EXPECT_EQ(settings.count, 3);
}

TEST(JsonText, WritesAnyBytes) {
  EXPECT_EQ(json_text(Json{{"file", "caf\xe9.png"}}), "{\"file\":\"caf\xef\xbf\xbd.png\"}");
}

}  // namespace
}  // namespace mos
