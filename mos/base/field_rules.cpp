#include "mos/base/field_rules.h"

#include <fmt/core.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "mos/base/error.h"
#include "mos/base/text.h"
#include "mos/base/text_distance.h"

namespace mos {

void check_choice(const std::string& shown, const std::string& value,
                  const std::vector<std::string>& choices) {
  if (std::find(choices.begin(), choices.end(), value) != choices.end()) return;
  auto named = choices;  // a text that may be empty says so in its help
  std::erase(named, "");
  throw Error(ErrorKind::kUsage,
              fmt::format("{} is \"{}\", expected one of {}{}", shown, printable(value),
                          fmt::join(named, ", "), did_you_mean(value, named)));
}

void check_number(const std::string& shown, double value, const std::string& text,
                  const FieldRules& rules) {
  if ((!rules.least || value >= *rules.least) && (!rules.most || value <= *rules.most)) return;
  const auto expected = !rules.most ? fmt::format("at least {}", *rules.least)
                        : !rules.least
                            ? fmt::format("at most {}", *rules.most)
                            : fmt::format("a value from {} to {}", *rules.least, *rules.most);
  throw Error(ErrorKind::kUsage, fmt::format("{} is {}, expected {}", shown, text, expected));
}

}  // namespace mos
