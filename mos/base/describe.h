#pragma once

#include <fmt/core.h>

#include <algorithm>
#include <string>
#include <vector>

#include "mos/base/error.h"
#include "mos/base/json.h"
#include "mos/base/text.h"
#include "mos/base/text_distance.h"

/// One field list per options struct feeds the command line, its help, JSON files and run records.
/// An options struct declares
///
///     template <class Visitor>
///     void describe(Visitor& visit, TuneOptions& options) {
///       visit("steps", options.steps, "optimiser steps");
///     }
///
/// in its own namespace (found by argument-dependent lookup). Fields are bool, integers, double,
/// std::string, std::vector of those, or std::optional<…> of those (JSON null, flag not given).
namespace mos {

/// Sets the fields that `object` names and remembers every name, so that others can be refused.
class JsonReader {
 public:
  /// `origin` is what messages call the object.
  JsonReader(const Json& object, const std::string& origin) : object_(object), origin_(origin) {}

  template <typename T>
  void operator()(const std::string& name, T& field, const std::string& /*help*/) {
    known_.push_back(name);
    const auto found = object_.find(name);
    if (found == object_.end() || assign_json(*found, field)) return;
    throw Error(ErrorKind::kFormat, fmt::format("{}: \"{}\" is {}, expected {}", origin_, name,
                                                quoted(*found), json_type_name(field)));
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
  const Json& object_;
  const std::string& origin_;
  std::vector<std::string> known_;
};

class JsonWriter {
 public:
  template <typename T>
  void operator()(const std::string& name, const T& field, const std::string& /*help*/) {
    object_[name] = field;
  }
  Json take() { return std::move(object_); }

 private:
  Json object_ = Json::object();
};

/// Overwrites the fields of `options` that `object` names. Throws kUsage on unknown keys and
/// kFormat on values that are not of the field's type as they stand (see assign_json), the rules
/// that flags have.
template <class Options>
void read_options(const Json& object, const std::string& origin, Options& options) {
  if (!object.is_object()) {
    throw Error(ErrorKind::kFormat, origin + " must hold a JSON object of options");
  }
  JsonReader reader(object, origin);
  describe(reader, options);
  reader.refuse_unknown();
}

template <class Options>
Json write_options(Options options) {
  JsonWriter writer;
  describe(writer, options);
  return writer.take();
}

}  // namespace mos
