#include "mos/base/schema.h"

#include <algorithm>
#include <utility>

namespace mos {

namespace {

const char* json_type(FieldType type) {
  switch (type) {
    case FieldType::kSwitch:
      return "boolean";
    case FieldType::kInteger:
    case FieldType::kCount:
      return "integer";
    case FieldType::kNumber:
      return "number";
    case FieldType::kText:
      break;
  }
  return "string";
}

/// A bound as the type of the field has it: 1, not 1.0, for a whole number.
Json bound(double value, FieldType type) {
  if (type == FieldType::kNumber) return value;
  return static_cast<std::int64_t>(value);
}

/// What one value must be: the field's, or each entry of its list.
Json value_schema(const FieldInfo& field) {
  Json json = {{"type", json_type(field.type)}};
  if (field.is_optional) json["type"] = Json::array({json_type(field.type), "null"});
  if (field.rules.least) json["minimum"] = bound(*field.rules.least, field.type);
  if (!field.rules.least && field.type == FieldType::kCount) json["minimum"] = 0;
  if (field.rules.most) json["maximum"] = bound(*field.rules.most, field.type);
  if (!field.rules.choices.empty()) json["enum"] = field.rules.choices;
  if (field.rules.is_path) json["format"] = "path";
  return json;
}

}  // namespace

void add_fields(Schema& schema, Schema more) {
  for (auto& field : more) {
    const bool known = std::any_of(schema.begin(), schema.end(), [&](const FieldInfo& other) {
      return other.name == field.name;
    });
    if (!known) schema.push_back(std::move(field));
  }
}

Json json_schema(const Schema& schema, const std::string& title) {
  Json json = {{"$schema", "https://json-schema.org/draft/2020-12/schema"},
               {"title", title},
               {"type", "object"},
               {"properties", Json::object()},
               {"additionalProperties", false}};
  for (const auto& field : schema) {
    auto property = value_schema(field);
    if (field.is_list) property = {{"type", "array"}, {"items", std::move(property)}};
    property["description"] = field.help;
    if (!field.fallback.is_null()) property["default"] = field.fallback;
    if (field.is_flag_only) property["x-flag-only"] = true;
    json["properties"][field.name] = std::move(property);
  }
  return json;
}

}  // namespace mos
