#include "mos/studio/router.h"

#include <fmt/core.h>

#include <algorithm>
#include <iterator>
#include <utility>

#include "mos/base/text.h"
#include "mos/base/text_distance.h"

namespace mos::studio {
namespace {

/// Takes the part up to the next slash off `text`.
std::string_view take_part(std::string_view& text) {
  const auto slash = text.find('/');
  const auto part = text.substr(0, slash);
  text.remove_prefix(slash == text.npos ? text.size() : slash + 1);
  return part;
}

void refuse_unknown_query(const Call& call, const std::vector<std::string>& known) {
  for (const auto& [name, value] : call.query) {
    if (std::ranges::find(known, name) != known.end()) continue;
    throw Refused(400, fmt::format("the address has an unknown \"{}\" behind \"?\"{}",
                                   printable(name), did_you_mean(name, known)));
  }
}

}  // namespace

bool matches(std::string_view pattern, std::string_view path,
             std::map<std::string, std::string>& names) {
  if (!pattern.starts_with('/') || !path.starts_with('/')) return false;
  pattern.remove_prefix(1);
  path.remove_prefix(1);
  std::map<std::string, std::string> found;
  while (!pattern.empty()) {
    const auto wanted = take_part(pattern);
    if (wanted == "{path}") {
      found["path"] = path;
      names = std::move(found);
      return !path.empty();
    }
    const auto given = take_part(path);
    if (wanted.starts_with('{')) {
      if (given.empty()) return false;
      found[std::string(wanted.substr(1, wanted.size() - 2))] = given;
    } else if (given != wanted) {
      return false;
    }
  }
  names = std::move(found);
  return path.empty();
}

void Router::add(std::vector<Route> routes) {
  std::move(routes.begin(), routes.end(), std::back_inserter(routes_));
}

Reply Router::find_and_call(Call& call) const {
  std::string allowed;
  const auto method = call.method == "HEAD" ? "GET" : call.method;
  for (const auto& route : routes_) {
    if (!matches(route.pattern, call.path, call.names)) continue;
    if (route.method == method) {
      refuse_unknown_query(call, route.query);
      return route.handle(call);
    }
    allowed += (allowed.empty() ? "" : ", ") + route.method;
  }
  if (allowed.empty()) throw Refused(404, "there is no " + printable(call.path));
  auto reply = error_reply(
      405, "usage",
      fmt::format("{} takes {}, not {}", printable(call.path), allowed, printable(call.method)));
  reply.headers["Allow"] = allowed;
  return reply;
}

Reply Router::answer(Call call) const {
  try {
    return find_and_call(call);
  } catch (...) {
    return present_error_reply();
  }
}

}  // namespace mos::studio
