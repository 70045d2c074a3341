#include "mos/studio/schema_check.h"

#include <fmt/core.h>

#include <algorithm>
#include <map>

#include "mos/base/text.h"
#include "mos/base/text_distance.h"

namespace mos::studio {
namespace {

using Problems = std::vector<std::string>;

bool is_type(const Json& value, const std::string& type) {
  if (type == "null") return value.is_null();
  if (type == "boolean") return value.is_boolean();
  if (type == "integer") return value.is_number_integer();
  if (type == "number") return value.is_number();
  if (type == "string") return value.is_string();
  if (type == "array") return value.is_array();
  return type == "object" && value.is_object();
}

bool is_any_type(const Json& value, const Json& types) {
  if (types.is_string()) return is_type(value, types.get<std::string>());
  return std::ranges::any_of(
      types, [&](const Json& type) { return is_type(value, type.get<std::string>()); });
}

/// For people: "a whole number or null".
std::string name_of_types(const Json& types) {
  static const std::map<std::string, std::string> names = {
      {"integer", "a whole number"}, {"number", "a number"},  {"string", "a text"},
      {"boolean", "true or false"},  {"object", "an object"}, {"array", "a list"}};
  std::string text;
  for (const auto& type : types.is_array() ? types : Json::array({types})) {
    const auto found = names.find(type.get<std::string>());
    text += (text.empty() ? "" : " or ") + (found == names.end() ? "null" : found->second);
  }
  return text;
}

class Checker {
 public:
  Checker(const Json& document, Problems& problems) : document_(document), problems_(problems) {}

  void check(const Json& value, const Json& schema, const std::string& where) {
    if (schema.contains("$ref")) {
      const Json::json_pointer place(schema.at("$ref").get<std::string>().substr(1));
      return check(value, document_.at(place), where);
    }
    if (schema.contains("oneOf")) return check_one_of(value, schema.at("oneOf"), where);
    if (schema.contains("type") && !is_any_type(value, schema.at("type"))) {
      return say(where.empty() ? "the body" : where, "is {}, expected {}", printable(quoted(value)),
                 name_of_types(schema.at("type")));
    }
    if (value.is_null()) return;
    check_choices_and_range(value, schema, where);
    if (value.is_array()) check_items(value, schema, where);
    if (value.is_object()) check_object(value, schema, where);
  }

 private:
  template <typename... T>
  void say(const std::string& where, fmt::format_string<T...> text, T&&... values) {
    problems_.push_back(where + " " + fmt::format(text, std::forward<T>(values)...));
  }

  void check_one_of(const Json& value, const Json& schemas, const std::string& where) {
    Problems last;
    for (const auto& schema : schemas) {
      last = schema_problems(value, schema, document_, where);
      if (last.empty()) return;
    }
    problems_.insert(problems_.end(), last.begin(), last.end());
  }

  void check_choices_and_range(const Json& value, const Json& schema, const std::string& where) {
    if (schema.contains("enum")) {
      const auto& choices = schema.at("enum");
      if (std::ranges::find(choices, value) == choices.end()) {
        say(where, "is {}, expected one of {}", printable(quoted(value)), quoted(choices));
      }
    }
    if (!value.is_number()) return;
    const auto number = value.get<double>();
    const bool low = schema.contains("minimum") && number < schema.at("minimum").get<double>();
    const bool high = schema.contains("maximum") && number > schema.at("maximum").get<double>();
    if (low) say(where, "is {}, expected {} or more", quoted(value), quoted(schema.at("minimum")));
    if (high) say(where, "is {}, expected {} at most", quoted(value), quoted(schema.at("maximum")));
  }

  void check_items(const Json& value, const Json& schema, const std::string& where) {
    if (!schema.contains("items")) return;
    for (std::size_t i = 0; i < value.size(); ++i) {
      check(value.at(i), schema.at("items"), fmt::format("{}[{}]", where, i));
    }
  }

  void check_object(const Json& value, const Json& schema, const std::string& where) {
    const auto properties = schema.value("properties", Json::object());
    for (const auto& name : schema.value("required", Json::array())) {
      if (!value.contains(name.get<std::string>())) {
        say(where.empty() ? "the body" : where, "lacks {}", quoted(name));
      }
    }
    const auto more = schema.value("additionalProperties", Json(true));
    for (const auto& [key, entry] : value.items()) {
      const auto inner = fmt::format("{}{}\"{}\"", where, where.empty() ? "" : ".", printable(key));
      if (properties.contains(key)) {
        check(entry, properties.at(key), inner);
      } else if (more.is_object()) {
        check(entry, more, inner);
      } else if (!more.get<bool>()) {
        std::vector<std::string> known;
        for (const auto& [name, property] : properties.items()) known.push_back(name);
        say(inner, "is unknown{}", did_you_mean(key, known));
      }
    }
  }

  const Json& document_;
  Problems& problems_;
};

}  // namespace

Problems schema_problems(const Json& value, const Json& schema, const Json& document,
                         const std::string& where) {
  Problems problems;
  Checker(document, problems).check(value, schema, where);
  return problems;
}

}  // namespace mos::studio
