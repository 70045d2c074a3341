#include "mos/base/json_builder.h"

#include <fmt/core.h>

#include <utility>

#include "mos/base/error.h"
#include "mos/base/text.h"

namespace mos {

void JsonBuilder::fail(const std::string& reason) const {
  throw Error(ErrorKind::kFormat, fmt::format("{} {}", origin_, reason));
}

/// Where the next value goes. A container gets no other value while one in it is open, so that the
/// addresses of open ones hold. Json's own insertion looks a key up among all before it, which is
/// quadratic.
Json& JsonBuilder::place() {
  if (++values_ > kMaxJsonValues) {
    fail(fmt::format("has more than {} values, which nothing that is read here needs",
                     kMaxJsonValues));
  }
  if (open_.empty()) return root_;
  auto& parent = *open_.back().value;
  if (parent.is_array()) return parent.get_ref<Json::array_t&>().emplace_back();
  return parent.get_ref<Json::object_t&>().emplace_back(std::move(key_), Json()).second;
}

void JsonBuilder::add(Json value) { place() = std::move(value); }

void JsonBuilder::open(Json container) {
  if (open_.size() >= kMaxJsonDepth) {
    fail(fmt::format("is nested deeper than {} levels, which nothing that is read here needs",
                     kMaxJsonDepth));
  }
  auto& here = place();
  here = std::move(container);
  open_.push_back({&here, {}});
}

void JsonBuilder::key(std::string name) {
  if (!open_.back().keys.insert(name).second) {
    fail(fmt::format("has the key \"{}\" twice", printable(name)));
  }
  key_ = std::move(name);
}

}  // namespace mos
