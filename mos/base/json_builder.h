#pragma once

#include <set>
#include <string>
#include <vector>

#include "mos/base/json.h"

namespace mos {

/// Makes a Json of what a parser meets, in linear time and within the bounds of base/json.h: depth,
/// number of values, no key twice in an object. Parsers of JSON and YAML call it alike.
class JsonBuilder {
 public:
  /// `origin` is what messages call the text; it must outlive this object.
  explicit JsonBuilder(const std::string& origin) : origin_(origin) {}

  void add(Json value);
  void open_object() { open(Json::object()); }
  void open_array() { open(Json::array()); }
  void close() { open_.pop_back(); }

  /// Of the value that comes next, in an object. Throws kFormat when the object has it already.
  void key(std::string name);

  /// Whether the next thing is a key.
  bool in_object() const { return !open_.empty() && open_.back().value->is_object(); }

  Json take() { return std::move(root_); }

 private:
  struct Container {
    Json* value;
    std::set<std::string> keys;  ///< Of an object, so far.
  };

  [[noreturn]] void fail(const std::string& reason) const;
  Json& place();
  void open(Json container);

  const std::string& origin_;
  Json root_;
  std::vector<Container> open_;
  std::string key_;
  std::size_t values_ = 0;
};

}  // namespace mos
