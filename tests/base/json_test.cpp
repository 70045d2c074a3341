#include "mos/base/json.h"

#include <gmock/gmock.h>

#include <chrono>
#include <cmath>
#include <limits>

#include "mos/base/describe.h"
#include "mos/base/error.h"
#include "mos/base/text.h"

namespace mos {
namespace {

using ::testing::HasSubstr;

template <typename Action>
std::string message_of(ErrorKind kind, Action action) {
  try {
    action();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), kind) << error.what();
    return error.what();
  }
  ADD_FAILURE() << "nothing was thrown";
  return "";
}

std::string refusal(const std::string& text) {
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
  EXPECT_THAT(refusal("{\"a\": }"), HasSubstr("x.json is not valid JSON: parse error at line 1"));
  EXPECT_THAT(refusal(""), HasSubstr("not valid JSON"));
  EXPECT_THAT(refusal("{} {}"), HasSubstr("not valid JSON"));
  EXPECT_THAT(refusal("[1e999]"), HasSubstr("not valid JSON"));
  EXPECT_THAT(refusal("[\"\xff\"]"), HasSubstr("not valid JSON"));
  const auto message = refusal("[" + std::string(100'000, 'x'));
  EXPECT_LT(message.size(), 400U);
  EXPECT_EQ(message.find('\n'), std::string::npos);
}

TEST(ParseJson, AKeyThatComesTwiceIsAMistake) {
  EXPECT_THAT(refusal(R"({"a": 1, "b": {"a": 2}, "a": 3})"), HasSubstr("key \"a\" twice"));
}

TEST(ParseJson, DepthIsBounded) {
  EXPECT_NO_THROW(parse_json(nested(kMaxJsonDepth), "x"));
  EXPECT_THAT(refusal(nested(kMaxJsonDepth + 1)), HasSubstr("nested deeper than 100 levels"));
  EXPECT_THAT(refusal(std::string(1'000'000, '[')), HasSubstr("nested deeper"));
  std::string keys;
  for (int i = 0; i < 100'000; ++i) keys += "{\"a\":";
  EXPECT_THAT(refusal(keys), HasSubstr("nested deeper"));
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
  EXPECT_THAT(refusal(zeros + "]"), HasSubstr("more than 1000000 values"));
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

TEST(ReadOptions, IsAsStrictAsFlags) {
  const auto refused = [](const char* text) {
    Settings settings;
    return message_of(ErrorKind::kFormat,
                      [&] { read_options(parse_json(text, "x"), "run.json", settings); });
  };
  EXPECT_EQ(refused(R"({"count": 2.7})"), "run.json: \"count\" is 2.7, expected a whole number");
  EXPECT_THAT(refused(R"({"count": null})"), HasSubstr("\"count\" is null"));
  EXPECT_THAT(refused(R"({"scale": "1"})"), HasSubstr("expected a number"));
  EXPECT_THAT(refused(R"({"name": 1})"), HasSubstr("expected a text or null"));
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
