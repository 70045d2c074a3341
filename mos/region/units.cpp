#include "mos/region/units.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>

#include "mos/base/error.h"

namespace mos::region {

bool are_fractions(const std::vector<double>& numbers, const std::string& what) {
  const auto most = std::max_element(numbers.begin(), numbers.end());
  if (most == numbers.end() || *most <= 1.0) return true;
  const bool are_whole =
      std::all_of(numbers.begin(), numbers.end(), [](double x) { return x == std::floor(x); });
  if (*most < 2.0 && !are_whole) throw_mixed_units(what, *most);
  return false;
}

void throw_mixed_units(const std::string& what, double above) {
  throw Error(ErrorKind::kUsage,
              fmt::format("{}: {} is above 1, so that all of its numbers are pixels, and no region "
                          "is as small as that; did you mean {}?",
                          what, above, above < 2.0 ? "1" : "a fraction"));
}

}  // namespace mos::region
