#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace mos {

/// Keys keep the order of the file, so that what we write reads like what we read.
using Json = nlohmann::ordered_json;

/// Throws kFormat naming `origin` and the place of the mistake.
Json parse_json(std::string_view text, const std::string& origin);

/// Throws kIo or kFormat.
Json read_json_file(const std::filesystem::path& path);

/// Value of `key`, or `fallback` when the key is absent or null.
/// Throws kFormat naming `key` when the value is of another type.
template <typename T>
T json_value(const Json& object, const std::string& key, T fallback);

/// Value of `key`. Throws kFormat when it is absent or of another type.
template <typename T>
T json_required(const Json& object, const std::string& key);

[[noreturn]] void throw_json_type_error(const std::string& key, const Json& value);
[[noreturn]] void throw_json_missing(const std::string& key);

template <typename T>
T json_required(const Json& object, const std::string& key) {
  const auto found = object.find(key);
  if (found == object.end() || found->is_null()) throw_json_missing(key);
  try {
    return found->template get<T>();
  } catch (const nlohmann::json::exception&) {
    throw_json_type_error(key, *found);
  }
}

template <typename T>
T json_value(const Json& object, const std::string& key, T fallback) {
  const auto found = object.find(key);
  if (found == object.end() || found->is_null()) return fallback;
  return json_required<T>(object, key);
}

}  // namespace mos
