#include <gmock/gmock.h>

#include <array>
#include <limits>
#include <optional>
#include <string>
#include <vector>

#include "mos/base/describe.h"
#include "mos/base/field_visitor.h"
#include "mos/base/schema.h"
#include "tests/base/places.h"

namespace options_test {

enum class Colour { kRed, kBlue };
constexpr auto choice_names(Colour) {
  return std::to_array<mos::Named<Colour>>({{"red", Colour::kRed}, {"blue", Colour::kBlue}});
}

struct Options {
  std::int64_t steps = 10;
  double share = 0.5;
  Colour colour = Colour::kRed;
  std::string kind = "round";
  std::string file;
  std::vector<double> scales = {1.0};
  std::optional<std::int64_t> limit;
  bool fast = false;
};

template <class Visitor>
void describe(Visitor& visit, Options& o) {
  visit("steps", o.steps, "how often", mos::at_least(1));
  visit("share", o.share, "of the whole", mos::between(0, 1));
  visit("colour", o.colour, "red or blue");
  visit("kind", o.kind, "of shape", mos::one_of({"round", "square"}));
  visit("file", o.file, "to read", mos::a_path());
  visit("scales", o.scales, "factors", mos::between(-2, 2));
  visit("limit", o.limit, "at most", mos::at_least(0));
  visit("fast", o.fast, "or not");
}

using mos::Error;
using mos::ErrorKind;
using mos::Json;
using mos::test::error_of;
using ::testing::AllOf;
using ::testing::HasSubstr;

Options read(const Json& json) {
  Options options;
  mos::read_options(json, "a file", options);
  return options;
}

std::string refusal(const Json& json) {
  return error_of(ErrorKind::kUsage, [&] { mos::check_fields(read(json)); });
}

TEST(Options, ChoicesAreTheirNamesInFiles) {
  EXPECT_EQ(read({{"colour", "blue"}}).colour, Colour::kBlue);
  EXPECT_EQ(mos::write_options(Options{.colour = Colour::kBlue}).at("colour"), "blue");
  EXPECT_THAT(refusal({{"colour", "bleu"}}),
              AllOf(HasSubstr("\"colour\" is \"bleu\""), HasSubstr("red, blue")));
  EXPECT_THAT(refusal({{"colour", 1}}), HasSubstr("\"colour\""));
}

TEST(Options, EachValueIsCheckedByTheRulesOfItsField) {
  EXPECT_NO_THROW(mos::check_fields(Options{}));
  EXPECT_THAT(refusal({{"steps", 0}}), HasSubstr("\"steps\" is 0, expected at least 1"));
  EXPECT_THAT(refusal({{"share", 1.5}}),
              HasSubstr("\"share\" is 1.5, expected a value from 0 to 1"));
  EXPECT_THAT(refusal({{"kind", "rund"}}), HasSubstr("round, square"));
  EXPECT_THAT(refusal({{"scales", {1.0, 3.0}}}), HasSubstr("\"scales\" is 3"));
  EXPECT_THAT(refusal({{"limit", -1}}), HasSubstr("\"limit\" is -1"));
  EXPECT_NO_THROW(mos::check_fields(read({{"limit", nullptr}})));
  Options nan;
  nan.share = std::numeric_limits<double>::quiet_NaN();
  EXPECT_THAT(error_of(ErrorKind::kUsage, [&] { mos::check_fields(nan); }), HasSubstr("\"share\""));
}

TEST(Options, SchemaSaysWhatTheReaderTakes) {
  const auto schema = mos::json_schema(mos::schema_of<Options>(), "options");
  const auto& properties = schema.at("properties");
  EXPECT_EQ(properties.size(), 8U);
  EXPECT_EQ(properties.at("steps"), Json::parse(R"({"type": "integer", "minimum": 1,
            "description": "how often", "default": 10})"));
  EXPECT_EQ(properties.at("share").at("maximum"), 1.0);
  EXPECT_EQ(properties.at("colour").at("enum"), Json::array({"red", "blue"}));
  EXPECT_EQ(properties.at("colour").at("default"), "red");
  EXPECT_EQ(properties.at("kind").at("enum"), Json::array({"round", "square"}));
  EXPECT_EQ(properties.at("file").at("format"), "path");
  EXPECT_EQ(properties.at("scales").at("items").at("minimum"), -2.0);
  EXPECT_EQ(properties.at("limit").at("type"), Json::array({"integer", "null"}));
  EXPECT_EQ(properties.at("fast").at("type"), "boolean");
  EXPECT_EQ(schema.at("additionalProperties"), false);
  EXPECT_THAT(refusal({{"stesp", 3}}), HasSubstr("steps"));
}

TEST(Options, AVirtualVisitorSeesTheSame) {
  Options options;
  mos::SchemaWriter direct, through;
  mos::FieldVisitorOf<mos::SchemaWriter> visitor(through);
  mos::FieldVisitor& visit = visitor;
  direct("colour", options.colour, "red or blue");
  visit("colour", options.colour, "red or blue");
  direct("steps", options.steps, "how often", mos::at_least(1));
  visit("steps", options.steps, "how often", mos::at_least(1));
  EXPECT_EQ(mos::json_schema(direct.take(), "a"), mos::json_schema(through.take(), "a"));
}

}  // namespace options_test
