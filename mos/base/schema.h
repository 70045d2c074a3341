#pragma once

#include <string>
#include <vector>

#include "mos/base/describe.h"
#include "mos/base/field_rules.h"
#include "mos/base/json.h"

/// Options as data: what a command line registers before it reads anything, and what forms are
/// made of.
namespace mos {

enum class FieldType { kSwitch, kInteger, kCount, kNumber, kText };

struct FieldInfo {
  std::string name;  ///< As in files: with underscores.
  std::string help;
  FieldType type = FieldType::kText;
  bool is_list = false;
  bool is_optional = false;   ///< It may have no value, null in files.
  bool is_flag_only = false;  ///< It stands on a command line alone, never in a file of options.
  FieldRules rules = {};
  Json fallback = nullptr;  ///< The default.
};

using Schema = std::vector<FieldInfo>;

/// Visitor of describe().
class SchemaWriter {
 public:
  template <typename T>
  void operator()(const std::string& name, T& field, const std::string& help,
                  const FieldRules& rules = {}) {
    FieldInfo info{.name = name, .help = help, .rules = rules};
    info.fallback = field_json(field);
    set_type(info, field);
    fields_.push_back(std::move(info));
  }
  Schema take() { return std::move(fields_); }

 private:
  template <typename T>
  static void set_type(FieldInfo& info, T& field) {
    if constexpr (Choice<T>) {
      info.rules.choices = names_of_choices<T>();
    } else if constexpr (std::is_same_v<T, ChoiceField>) {
      info.rules.choices = field.names;
    } else {
      set_plain_type(info, field);
    }
  }
  template <typename T>
  static void set_plain_type(FieldInfo& info, const T& /*example*/) {
    if constexpr (std::is_same_v<T, bool>) {
      info.type = FieldType::kSwitch;
    } else if constexpr (std::is_integral_v<T>) {
      info.type = std::is_unsigned_v<T> ? FieldType::kCount : FieldType::kInteger;
    } else if constexpr (std::is_floating_point_v<T>) {
      info.type = FieldType::kNumber;
    }
  }
  template <typename T>
  static void set_plain_type(FieldInfo& info, const std::vector<T>& /*example*/) {
    info.is_list = true;
    set_plain_type(info, T{});
  }
  template <typename T>
  static void set_plain_type(FieldInfo& info, const std::optional<T>& /*example*/) {
    info.is_optional = true;
    set_plain_type(info, T{});
  }

  Schema fields_;
};

/// The fields of `options` with their present values as defaults.
template <class Options>
Schema schema_of(Options options = {}) {
  SchemaWriter writer;
  describe(writer, options);
  return writer.take();
}

/// Adds the fields of `more` whose names `schema` lacks.
void add_fields(Schema& schema, Schema more);

/// The same as a JSON Schema (2020-12), an object with a property for each field: type, default,
/// description, minimum, maximum, enum; "format": "path" for files and folders, "x-flag-only" for
/// what only a command line has.
Json json_schema(const Schema& schema, const std::string& title);

}  // namespace mos
