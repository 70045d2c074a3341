#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace mos {

/// What a value of an option must be beside its type. Said once, where the option is described:
/// check_fields() checks it, forms and `--help json` show it.
struct FieldRules {
  std::optional<double> least = {};       ///< Of a number, or of each in a list.
  std::optional<double> most = {};        ///< The same.
  std::vector<std::string> choices = {};  ///< The texts that are possible; empty: any.
  bool is_path = false;                   ///< The text names a file or folder.
};

inline FieldRules at_least(double least) { return {.least = least}; }
inline FieldRules between(double least, double most) { return {.least = least, .most = most}; }
inline FieldRules one_of(std::vector<std::string> choices) {
  return {.choices = std::move(choices)};
}
inline FieldRules a_path() { return {.is_path = true}; }

/// Throws kUsage where `value` is none of `choices`, with the nearest one; `shown` is what the
/// message calls it: "--framing", or "framing" in quotes.
void check_choice(const std::string& shown, const std::string& value,
                  const std::vector<std::string>& choices);

/// Throws kUsage where `value`, which messages write as `text`, is outside of `rules`. NaN is.
void check_number(const std::string& shown, double value, const std::string& text,
                  const FieldRules& rules);

}  // namespace mos
