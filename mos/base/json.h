#pragma once

#include <cmath>
#include <cstdint>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace mos {

/// Keys keep the order of the file, so that what we write reads like what we read.
using Json = nlohmann::ordered_json;

/// Levels of JSON or YAML. Configurations have at most six; a reader that calls itself for each one
/// must not run out of stack.
inline constexpr int kMaxJsonDepth = 100;
/// Values of one text of JSON or YAML: a vocabulary of 50,000 tokens is the most that models have.
inline constexpr std::size_t kMaxJsonValues = 1'000'000;

/// Reads JSON in linear time. Throws kFormat naming `origin` and the place of the mistake, or a key
/// that an object has twice, or that the bounds above are passed.
Json parse_json(std::string_view text, const std::string& origin);

/// Throws kIo or kFormat.
Json read_json_file(const std::filesystem::path& path);

/// `json` as text; an indent of -1 puts it in one line. Bytes that are not UTF-8 (a file's name)
/// become U+FFFD, so that a report never fails at the end of the work.
std::string json_text(const Json& json, int indent = -1);

/// `json` in a line, for messages.
std::string quoted(const Json& json);

/// Sets `field` to `value` if it is one of this type as it stands: a whole number in its range for
/// an integer, a finite one for a double, and nothing but true or false for a bool. Null is a value
/// of std::optional alone. False, and `field` is undetermined, where it is not.
template <typename T>
bool assign_json(const Json& value, T& field);
template <typename T>
bool assign_json(const Json& value, std::vector<T>& field);
template <typename T>
bool assign_json(const Json& value, std::map<std::string, T>& field);
template <typename T>
bool assign_json(const Json& value, std::optional<T>& field);

/// Value of `key`, or `fallback` when the key is absent or null.
/// Throws kFormat naming `key` when the value is of another type.
template <typename T>
T json_value(const Json& object, const std::string& key, T fallback);

/// Value of `key`. Throws kFormat when it is absent or of another type.
template <typename T>
T json_required(const Json& object, const std::string& key);

/// What a T is called in messages: "a whole number", "a list of texts".
template <typename T>
std::string json_type_name(const T& example);

[[noreturn]] void throw_json_type_error(const std::string& key, const Json& value,
                                        const std::string& expected);
[[noreturn]] void throw_json_missing(const std::string& key);

template <typename T>
bool assign_json(const Json& value, T& field) {
  if constexpr (std::is_same_v<T, Json>) {
    field = value;
    return true;
  } else if constexpr (std::is_same_v<T, bool>) {
    if (value.is_boolean()) field = value.template get<bool>();
    return value.is_boolean();
  } else if constexpr (std::is_integral_v<T>) {
    const bool fits =
        value.is_number_unsigned()
            ? std::in_range<T>(value.template get<std::uint64_t>())
            : value.is_number_integer() && std::in_range<T>(value.template get<std::int64_t>());
    if (fits) field = value.template get<T>();
    return fits;
  } else if constexpr (std::is_floating_point_v<T>) {
    if (!value.is_number() || !std::isfinite(value.template get<double>())) return false;
    field = value.template get<T>();
    return true;
  } else {
    static_assert(std::is_same_v<T, std::string>);
    if (value.is_string()) field = value.template get<std::string>();
    return value.is_string();
  }
}

template <typename T>
bool assign_json(const Json& value, std::vector<T>& field) {
  if (!value.is_array()) return false;
  field.clear();
  for (const auto& item : value) {
    T entry{};
    if (!assign_json(item, entry)) return false;
    field.push_back(std::move(entry));
  }
  return true;
}

template <typename T>
bool assign_json(const Json& value, std::map<std::string, T>& field) {
  if (!value.is_object()) return false;
  field.clear();
  for (const auto& [key, item] : value.items()) {
    if (!assign_json(item, field[key])) return false;
  }
  return true;
}

template <typename T>
bool assign_json(const Json& value, std::optional<T>& field) {
  field.reset();
  return value.is_null() || assign_json(value, field.emplace());
}

namespace detail {

template <typename T>
struct JsonTypeName {
  static std::string one() {
    if (std::is_same_v<T, bool>) return "true or false";
    if (std::is_unsigned_v<T>) return "a whole number from 0";
    if (std::is_integral_v<T>) return "a whole number";
    return std::is_floating_point_v<T> ? "a number" : "a text";
  }
};
template <typename T>
struct JsonTypeName<std::vector<T>> {
  static std::string one() { return "a list, each entry " + JsonTypeName<T>::one(); }
};
template <typename T>
struct JsonTypeName<std::map<std::string, T>> {
  static std::string one() { return "an object, each value " + JsonTypeName<T>::one(); }
};
template <typename T>
struct JsonTypeName<std::optional<T>> {
  static std::string one() { return JsonTypeName<T>::one() + " or null"; }
};

}  // namespace detail

template <typename T>
std::string json_type_name(const T& /*example*/) {
  return detail::JsonTypeName<T>::one();
}

template <typename T>
T json_required(const Json& object, const std::string& key) {
  const auto found = object.find(key);
  if (found == object.end() || found->is_null()) throw_json_missing(key);
  T value{};
  if (!assign_json(*found, value)) throw_json_type_error(key, *found, json_type_name(value));
  return value;
}

template <typename T>
T json_value(const Json& object, const std::string& key, T fallback) {
  const auto found = object.find(key);
  if (found == object.end() || found->is_null()) return fallback;
  return json_required<T>(object, key);
}

}  // namespace mos
