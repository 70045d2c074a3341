#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "mos/studio/http.h"

/// Requests to handlers: a table.
namespace mos::studio {

using Handler = std::function<Reply(const Call&)>;

struct Route {
  std::string method;
  /// "/mos/v1/jobs/{id}"; a last {path} stands for all that is left, with its slashes.
  std::string pattern;
  Handler handle;
  std::vector<std::string> query = {};  ///< The names of what may stand behind "?".
};

class Router {
 public:
  void add(std::vector<Route> routes);
  const std::vector<Route>& routes() const { return routes_; }

  /// The answer, whatever happens: what a handler throws is in it. HEAD is asked as GET.
  Reply answer(Call call) const;

 private:
  Reply find_and_call(Call& call) const;

  std::vector<Route> routes_;
};

/// Whether `path` fits `pattern`; then `names` are what stands for its parts in braces.
bool matches(std::string_view pattern, std::string_view path,
             std::map<std::string, std::string>& names);

}  // namespace mos::studio
