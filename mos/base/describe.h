#pragma once

#include <fmt/core.h>

#include <algorithm>
#include <optional>
#include <string>
#include <type_traits>
#include <vector>

#include "mos/base/choice.h"
#include "mos/base/error.h"
#include "mos/base/field_rules.h"
#include "mos/base/json.h"
#include "mos/base/text.h"
#include "mos/base/text_distance.h"

/// One field list per options struct feeds the command line, its help, JSON files, run records, the
/// check of values and the forms of other programs (schema.h). An options struct declares
///
///     template <class Visitor>
///     void describe(Visitor& visit, TuneOptions& options) {
///       visit("steps", options.steps, "optimiser steps", at_least(1));
///     }
///
/// in its own namespace (found by argument-dependent lookup). Fields are bool, integers, double,
/// std::string, std::vector of those, std::optional<…> of those (JSON null, flag not given), or a
/// choice (choice.h).
namespace mos {

/// The value of a field as files have it.
template <typename T>
Json field_json(const T& field) {
  if constexpr (Choice<T>) {
    return choice_name(field);
  } else if constexpr (std::is_same_v<T, ChoiceField>) {
    return field.get();
  } else {
    return field;
  }
}
template <typename T>
Json field_json(const std::optional<T>& field) {
  return field ? field_json(*field) : Json();
}

/// Sets the fields that `object` names and remembers every name, so that others can be refused.
class JsonReader {
 public:
  /// `origin` is what messages call the object.
  JsonReader(const Json& object, const std::string& origin) : object_(object), origin_(origin) {}

  template <typename T>
  void operator()(const std::string& name, T& field, const std::string& /*help*/,
                  const FieldRules& /*rules*/ = {}) {
    known_.push_back(name);
    const auto found = object_.find(name);
    if (found == object_.end()) return;
    if (has_nul(*found)) refuse(name, *found, "a text without U+0000");
    if constexpr (Choice<T>) {
      set(name, choice_field(field), *found);
    } else if constexpr (std::is_same_v<T, ChoiceField>) {
      set(name, field, *found);
    } else if (!assign_json(*found, field)) {
      refuse(name, *found, json_type_name(field));
    }
  }

  /// Throws kUsage naming the first key that no field has.
  void refuse_unknown() const {
    for (const auto& [key, value] : object_.items()) {
      if (std::find(known_.begin(), known_.end(), key) != known_.end()) continue;
      throw Error(ErrorKind::kUsage, fmt::format("{} has an unknown option \"{}\"{}", origin_,
                                                 printable(key), did_you_mean(key, known_)));
    }
  }

 private:
  /// No prompt, path or PNG text can hold one.
  static bool has_nul(const Json& value) {
    return value.is_string() && value.get_ref<const std::string&>().find('\0') != std::string::npos;
  }
  void set(const std::string& name, const ChoiceField& field, const Json& value) const {
    if (!value.is_string()) refuse(name, value, "a text");
    const auto text = value.get<std::string>();
    if (!field.set(text)) check_choice(fmt::format("{}: \"{}\"", origin_, name), text, field.names);
  }
  [[noreturn]] void refuse(const std::string& name, const Json& value,
                           const std::string& expected) const {
    throw Error(ErrorKind::kUsage, fmt::format("{}: \"{}\" is {}, expected {}", origin_, name,
                                               quoted(value), expected));
  }

  const Json& object_;
  const std::string& origin_;
  std::vector<std::string> known_;
};

class JsonWriter {
 public:
  template <typename T>
  void operator()(const std::string& name, T& field, const std::string& /*help*/,
                  const FieldRules& /*rules*/ = {}) {
    object_[name] = field_json(field);
  }
  Json take() { return std::move(object_); }

 private:
  Json object_ = Json::object();
};

/// Throws kUsage naming the first field whose value is not what its rules say.
class FieldChecker {
 public:
  template <typename T>
  void operator()(const std::string& name, T& field, const std::string& /*help*/,
                  const FieldRules& rules = {}) const {
    check(fmt::format("\"{}\"", name), field, rules);
  }

 private:
  template <typename T>
  static void check(const std::string& name, const T& value, const FieldRules& rules) {
    if constexpr (std::is_arithmetic_v<T>) {
      check_number(name, static_cast<double>(value), fmt::format("{}", value), rules);
    } else if constexpr (std::is_same_v<T, std::string>) {
      if (!rules.choices.empty()) check_choice(name, value, rules.choices);
    }
  }
  template <typename T>
  static void check(const std::string& name, const std::vector<T>& values,
                    const FieldRules& rules) {
    for (const auto& value : values) check(name, value, rules);
  }
  template <typename T>
  static void check(const std::string& name, const std::optional<T>& value,
                    const FieldRules& rules) {
    if (value) check(name, *value, rules);
  }
};

/// Overwrites the fields of `options` that `object` names. Throws kUsage on unknown keys and on
/// values that are not of the field's type as they stand (see assign_json), the rules that flags
/// have: an option is one wherever it is written.
template <class Options>
void read_options(const Json& object, const std::string& origin, Options& options) {
  if (!object.is_object()) {
    throw Error(ErrorKind::kUsage, origin + " must hold a JSON object of options");
  }
  JsonReader reader(object, origin);
  describe(reader, options);
  reader.refuse_unknown();
}

/// The option `key` of `object` alone, on which it depends how the others are read, or `fallback`.
/// Throws as read_options does.
template <typename T>
T read_option(const Json& object, const std::string& origin, const std::string& key, T fallback) {
  JsonReader(object, origin)(key, fallback, "");
  return fallback;
}

/// Throws kUsage naming the first of `options` whose value its rules exclude.
template <class Options>
void check_fields(Options options) {
  FieldChecker checker;
  describe(checker, options);
}

template <class Options>
Json write_options(Options options) {
  JsonWriter writer;
  describe(writer, options);
  return writer.take();
}

}  // namespace mos
