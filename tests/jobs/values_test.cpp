#include <gmock/gmock.h>

#include <cmath>
#include <functional>
#include <string>
#include <vector>

#include "mos/base/schema.h"
#include "mos/fuse/method.h"
#include "mos/jobs/fuse.h"
#include "mos/jobs/sample.h"
#include "mos/jobs/tune.h"
#include "tests/support/errors.h"

/// Options in files are as strict as flags: every field of every job, with values of every kind.
namespace mos::jobs {
namespace {

using testing::HasSubstr;

/// A job as a file of options makes it.
struct Kind {
  std::string name;
  Json first;  ///< What is given beside the value.
  Schema fields;
  std::function<void(const Json&)> read;   ///< As a file "options.json".
  std::function<void(const Json&)> check;  ///< The same, and the rules of its fields.
};

template <class Job, class Read>
Kind kind_of_job(const std::string& name, const Json& first, const Read& read) {
  return {name, first, schema_of(read(first, "options.json")),
          [read](const Json& given) { read(given, "options.json"); },
          [read](const Json& given) { check_fields<Job>(read(given, "options.json")); }};
}

std::vector<Kind> kinds() {
  std::vector<Kind> all = {kind_of_job<TuneJob>("tune", Json::object(), tune_job),
                           kind_of_job<SampleJob>("sample", Json::object(), sample_job)};
  for (const auto& method : fuse::methods()) {
    const auto name = std::string(method.name);
    all.push_back(kind_of_job<FuseJob>("fuse by " + name, {{"method", name}}, fuse_job));
  }
  return all;
}

/// Whether the type of `field` has `value`, or an entry of its list.
bool is_one(const FieldInfo& field, const Json& value) {
  const double number = value.is_number() ? value.get<double>() : NAN;
  switch (field.type) {
    case FieldType::kSwitch:
      return value.is_boolean();
    case FieldType::kInteger:
      return value.is_number_integer();
    case FieldType::kCount:
      return value.is_number_integer() && number >= 0.0;
    case FieldType::kNumber:
      return std::isfinite(number);
    case FieldType::kText:
      break;
  }
  return value.is_string();
}

bool fits(const FieldInfo& field, const Json& value) {
  if (value.is_null()) return field.is_optional;
  if (!field.is_list) return is_one(field, value);
  if (!value.is_array()) return false;
  for (const auto& entry : value) {
    if (!is_one(field, entry)) return false;
  }
  return true;
}

const std::vector<Json>& values() {
  static const std::vector<Json> kValues = {
      2.7,       -1,      1e30,   NAN,           INFINITY,       "",     "2",
      true,      nullptr, Json(), Json::array(), Json::object(), {-1},   {{"a", 1}},
      {nullptr}, {"2"},   {{1}},  {2.7},         {NAN},          {true}, 9'000'000'000};
  return kValues;
}

TEST(OptionsInFiles, AreOfTheTypeThatAFlagHasOrRefusedWithFileAndKey) {
  for (const auto& kind : kinds()) {
    for (const auto& field : kind.fields) {
      if (field.name == "method") continue;
      for (const auto& value : values()) {
        if (fits(field, value)) continue;
        auto given = kind.first;
        given[field.name] = value;
        const auto message = test::message_of_any([&] { kind.read(given); });
        EXPECT_THAT(message, HasSubstr("options.json")) << kind.name << value;
        EXPECT_THAT(message, HasSubstr("\"" + field.name + "\"")) << kind.name << value;
      }
    }
  }
}

TEST(OptionsInFiles, NameTheFileWhereTheMethodIsNone) {
  for (const auto& value : values()) {
    if (value.is_null() || value == "") continue;  // the usual one
    for (const auto& read : {kinds().front().read, kinds().back().read}) {
      const auto message = test::message_of_any([&] { read({{"method", value}}); });
      EXPECT_THAT(message, HasSubstr("options.json")) << value;
    }
  }
}

/// Seeds are any number; whatever else is counted or weighed has an end that is said.
TEST(OptionsInFiles, EveryNumberHasTwoEnds) {
  for (const auto& kind : kinds()) {
    for (const auto& field : kind.fields) {
      const bool is_number = field.type == FieldType::kInteger || field.type == FieldType::kNumber;
      if (!is_number) continue;
      if (!field.rules.least || !field.rules.most) {
        ADD_FAILURE() << kind.name << ": " << field.name;
        continue;
      }
      for (const double beyond : {*field.rules.least - 1.0, *field.rules.most + 1.0}) {
        Json value = beyond;
        if (field.type == FieldType::kInteger) value = static_cast<std::int64_t>(beyond);
        auto given = kind.first;
        given[field.name] = field.is_list ? Json::array({value}) : value;
        EXPECT_THAT(test::message_of_any([&] { kind.check(given); }), HasSubstr(field.name))
            << kind.name << beyond;
      }
    }
  }
}

TEST(OptionsInFiles, OfASchedulerWithoutZeroSnrAreRefusedBeforeAModelIsRead) {
  const auto refusal = [](const char* scheduler) {
    const Json given = {{"prompt", "a"}, {"scheduler", scheduler}, {"zero_snr", true}};
    return test::message_of(ErrorKind::kUsage, [&] { check(sample_job(given, "options.json")); });
  };
  EXPECT_THAT(refusal("pndm"), HasSubstr("--zero-snr does not go with --scheduler pndm"));
  EXPECT_THAT(refusal("PLMS"), HasSubstr("--scheduler PLMS"));
}

}  // namespace
}  // namespace mos::jobs
