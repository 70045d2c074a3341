#pragma once

#include <algorithm>
#include <cctype>
#include <string>
#include <utility>
#include <vector>

#include "mos/base/json.h"

/// Files in which one value is of another type than it must be.
namespace mos::test {

struct Spoiled {
  Json json;
  std::string key;    ///< The last name on the way to the value, without the s of a list's.
  std::string shown;  ///< The way, and the value.
};

/// What no value like `value` can be.
inline std::vector<Json> wrong_types(const Json& value) {
  const Json list = Json::array(), object = {{"zz", 1}};
  if (value.is_boolean()) return {1, "true", nullptr, list, object};
  if (value.is_number()) return {"1", nullptr, list, object, true};
  if (value.is_string()) return {2.7, nullptr, list, object, true};
  if (value.is_array()) return {5, "x", nullptr, true};
  return {5, "x", nullptr, list};
}

/// `json` once for each value in it, however deep, and each type that is wrong there.
inline std::vector<Spoiled> spoiled(const Json& json) {
  std::vector<Spoiled> all;
  const auto flat = json.flatten();  // the ways to the leaves
  std::vector<std::string> ways;
  for (const auto& [leaf, value] : flat.items()) {
    for (auto way = leaf; !way.empty(); way = way.substr(0, way.rfind('/'))) {
      if (std::find(ways.begin(), ways.end(), way) == ways.end()) ways.push_back(way);
    }
  }
  for (const auto& way : ways) {
    auto name = way;
    while (std::isdigit(static_cast<unsigned char>(name.back())) != 0) {
      const auto end = name.rfind('/');
      if (name.find_first_not_of("0123456789", end + 1) != name.npos) break;  // mask_sha256
      name = name.substr(0, end);
    }
    auto key = name.substr(name.rfind('/') + 1);
    if (key.ends_with('s')) key.pop_back();
    const Json::json_pointer place(way);
    for (auto& value : wrong_types(json.at(place))) {
      auto one = json;
      one.at(place) = value;
      all.push_back({std::move(one), key, way + " = " + value.dump()});
    }
  }
  return all;
}

}  // namespace mos::test
